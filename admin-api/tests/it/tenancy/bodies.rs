//! A well-formed body for every route that takes one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    targets::{Place, Slot, Target},
    tenant::{Ids, form},
};
use crate::world::PASSWORD;

/// With these ids in it, of which the optional ones only where the slot asks for one. `unique`: no two are the same.
pub fn body(target: &Target, unique: &str, ids: &Ids, slot: Option<&Slot>) -> Option<Value> {
    let mut body = match (plain(target.name, unique, ids), slot) {
        (Some(body), _) => body,
        // It may be left out.
        (None, Some(Slot { place: Place::Body(_), .. })) => json!({}),
        (None, _) => return None,
    };
    if let Some(Slot { place: Place::Body(pointer), kind }) = slot {
        place(&mut body, pointer, &ids[kind]);
        match (target.name, pointer.as_str()) {
            // Either an agent or a group.
            ("transfer", "/group_id") => remove(&mut body, "agent_id"),
            ("bulk", "/agent_id") => body["action"] = "assign".into(),
            ("bulk", "/tag_id") => body["action"] = "tag".into(),
            _ => {}
        }
    }
    Some(body)
}

fn plain(name: &str, unique: &str, ids: &Ids) -> Option<Value> {
    let name_of = |what: &str| format!("{what} {unique}");
    Some(match name {
        "register" => json!({
            "tenant_name": "t", "name": "n", "email": format!("{unique}@m.example"), "password": PASSWORD,
        }),
        "login" => {
            let nobody = format!("{unique}@nobody.example");
            json!({ "email": ids.get("email").unwrap_or(&nobody), "password": PASSWORD })
        }
        "forgot_password" => json!({ "email": format!("{unique}@nobody.example") }),
        "reset_password" | "accept_invitation" => json!({ "token": "x", "password": PASSWORD }),
        "change_password" => json!({ "current_password": "wrong password", "new_password": PASSWORD }),
        "complete_login" => json!({ "login_token": "x", "code": "000000" }),
        "prepare_totp" => json!({ "password": "wrong password" }),
        "confirm_totp" | "remove_mfa" => json!({ "code": "x" }),
        "add_device" => json!({ "platform": "web", "token": format!("t{unique}") }),
        "create_api_token" => json!({ "name": name_of("token"), "scopes": ["agents:read"] }),
        "patch_api_token" => json!({ "scopes": ["agents:read"] }),
        "refresh" => json!({ "refresh_token": "x" }),
        "patch_me" => json!({ "job_title": "x" }),
        "put_status" | "put_agent_status" => json!({ "status": "accepting" }),
        "create_agent" => {
            json!({ "email": format!("{unique}@a.example"), "name": "n", "role": "agent" })
        }
        "patch_agent" => json!({ "name": "n" }),
        "create_group" => json!({ "name": name_of("group") }),
        "patch_group" => json!({ "queue_max": 1 }),
        "put_member" => json!({}),
        "create_widget" => json!({ "name": name_of("widget") }),
        "patch_widget" => json!({ "greeting": "x" }),
        "patch_tenant" => json!({ "thread_per_assignment": false }),
        "patch_visitor" => json!({ "name": "n" }),
        "create_tag" => json!({ "name": name_of("tag") }),
        "patch_tag" => json!({ "color": "#1f8a70" }),
        "create_canned_response" => json!({ "shortcut": format!("s{unique}"), "text": "x" }),
        "patch_canned_response" => json!({ "text": "y" }),
        "create_action_template" => form(&name_of("form")),
        "patch_action_template" => json!({ "description": "y" }),
        "edit_event" => json!({ "text": "x" }),
        "bulk" => json!({ "ids": [ids["conversation"]], "action": "close" }),
        "send_event" | "send_thread_event" => json!({ "content": "x" }),
        "assign" | "transfer" => json!({ "agent_id": ids["agent"] }),
        "put_conversation_priority" => json!({ "priority": "high" }),
        "put_conversation_skills" => json!({ "skills": ["latin"] }),
        "widget_session" => json!({
            "widget_key": ids["widget_key"], "visitor_key": URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()),
        }),
        "rate" => json!({ "score": 5 }),
        _ => return None,
    })
}

/// Puts an id where a pointer leads, in a list of one where it leads into a list.
fn place(body: &mut Value, pointer: &str, id: &str) {
    let (name, listed) = match pointer.trim_start_matches('/').strip_suffix("/0") {
        Some(name) => (name, true),
        None => (pointer.trim_start_matches('/'), false),
    };
    assert!(!name.contains('/'), "{pointer} is deeper than any so far");
    body[name] = if listed { json!([id]) } else { id.into() };
}

fn remove(body: &mut Value, name: &str) {
    body.as_object_mut().expect("bodies are objects").remove(name);
}
