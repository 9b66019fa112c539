//! Things made for one call alone, so that each caller finds them as they were.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{
    scene::Scene,
    targets::Target,
    tenant::{Ids, Tenant, form, session_of},
};
use crate::world::Person;

const OPEN_MAX: usize = 40;

impl Tenant {
    /// The tenant's things, and new ones of the kinds that the call may change.
    pub async fn fresh(&self, scene: &Scene, who: &Person, target: &Target) -> Ids {
        let mut ids = self.ids.clone();
        if target.name == "put_agent_status" {
            // The router learns of a new agent a moment later; of this one it knows.
            return ids;
        }
        let kinds: Vec<&str> = target.slots.iter().map(|slot| slot.kind).collect();
        let area = target.path.trim_start_matches("/v1/").split('/').next().unwrap();
        let unique = Uuid::new_v4().simple().to_string();
        let made = match area {
            "agents" => {
                let email = format!("{unique}@fresh.example");
                Some(("agent", json!({ "email": email, "name": unique, "role": "agent" })))
            }
            "groups" => Some(("group", json!({ "name": unique }))),
            "widgets" => Some(("widget", json!({ "name": unique }))),
            "tags" => Some(("tag", json!({ "name": unique }))),
            "canned-responses" => Some(("canned", json!({ "shortcut": unique, "text": unique }))),
            "action-templates" => Some(("template", form(&unique))),
            "api-tokens" => Some(("api_token", json!({ "name": unique, "scopes": ["agents:read"] }))),
            _ => None,
        };
        if let Some((kind, body)) = made
            && kinds.contains(&kind)
        {
            let id = scene.world.post(&self.admin, &format!("/v1/{area}"), body).await.is(201).id();
            if target.path.ends_with("/restore") {
                scene.world.delete(&self.admin, &format!("/v1/{area}/{id}")).await.is(204);
            }
            ids.insert(kind, id);
        }
        if kinds.contains(&"device") {
            let body = json!({ "platform": "web", "token": unique });
            ids.insert("device", scene.world.post(who, "/v1/auth/me/devices", body).await.is(201).id());
        }
        if kinds.contains(&"session") {
            ids.insert("session", session_of(&scene.world.login(&who.email).await.token));
        }
        if ["conversations", "threads", "events", "visitors"].contains(&area) && !kinds.is_empty() {
            self.chat(scene, who, target, &mut ids).await;
        }
        ids
    }

    /// A conversation that is the caller's, in which they said something.
    async fn chat(&self, scene: &Scene, who: &Person, target: &Target, ids: &mut Ids) {
        let world = &scene.world;
        let visit = scene.visit(&self.ids["widget_key"], &self.canary).await;
        self.close_old(scene, visit.conversation.clone()).await;
        self.assign(scene, &visit.conversation, who).await;
        let home = format!("/v1/conversations/{}", visit.conversation);
        let said = world.post(who, &format!("{home}/events"), json!({ "content": "mine" })).await.is(201);
        let mut seq = said.body["seq"].clone();
        if target.name == "remove_conversation_tag" {
            let tag = format!("{home}/tags/{}", ids["tag"]);
            world.call(Method::PUT, who, &tag, json!(null)).await.is(204);
        }
        if target.name == "reopen" {
            seq = world.post(who, &format!("{home}/close"), json!({})).await.is(200).body["seq"].clone();
        }
        world.get(&self.admin, &format!("{home}/events?min_seq={seq}")).await.is(200);
        let event = said.body["event_id"].as_str().map(str::to_owned).unwrap();
        for (kind, id) in [
            ("conversation", visit.conversation),
            ("thread", visit.thread),
            ("visitor", visit.visitor),
            ("event", event),
        ] {
            ids.insert(kind, id);
        }
    }

    /// Remembers a conversation, and closes one of long before: nobody has room for all of them.
    async fn close_old(&self, scene: &Scene, new: String) {
        let old = {
            let mut made = self.made.lock().unwrap();
            made.push_back(new);
            if made.len() > OPEN_MAX { made.pop_front() } else { None }
        };
        if let Some(old) = old {
            // It may be closed or forgotten by now.
            let path = format!("/v1/conversations/{old}/close");
            scene.world.post(&self.supervisor, &path, json!({})).await;
        }
    }
}
