//! What visitors are sent: a list of fields, and nothing of what is staff's alone.
//!
//! Each frame that a client of these tests gets as a visitor is held to the list. `UPDATE=1` adds to the list what was
//! found; review what changes.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use bus_schema::{
    TagId,
    claims::Role,
    config::{Record, TagRecord},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, login, message},
    desk_work::{Desk, about, ask, take, with},
};

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/visitor_fields.txt");
const HEAD: &str =
    "# What visitors may be sent, by what it is in. Made by `UPDATE=1 cargo test -p edge --test it`.\n";

static LISTED: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(|| {
    let list = std::fs::read_to_string(LIST).unwrap_or_default();
    Mutex::new(list.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
});

/// Fails the test whose client was sent, as a visitor, what is not on the list.
pub fn check(frame: &Value) {
    let mut found = BTreeSet::new();
    fields(frame, &mut found);
    let mut listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    let more: Vec<String> = found.difference(&listed).cloned().collect();
    if more.is_empty() {
        return;
    }
    assert!(std::env::var_os("UPDATE").is_some(), "sent and not on the list: {more:#?} in {frame}");
    listed.extend(more);
    let all: Vec<&str> = listed.iter().map(String::as_str).collect();
    std::fs::write(LIST, format!("{HEAD}{}\n", all.join("\n"))).unwrap();
}

/// The fields of a frame, each with the shape that it is of.
fn fields(frame: &Value, found: &mut BTreeSet<String>) {
    let action = frame["action"].as_str().unwrap();
    let within = match (frame["type"].as_str(), frame["success"].as_bool()) {
        (Some("push"), _) => format!("push {action}"),
        (_, Some(false)) => "error".to_owned(),
        _ => format!("answer {action}"),
    };
    for (name, value) in frame.as_object().unwrap() {
        match name.as_str() {
            "payload" => walk(&within, "", value, found),
            name => drop(found.insert(format!("frame {name}"))),
        }
    }
}

fn walk(within: &str, path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let shape = shape(map);
            for (name, value) in map {
                // Whatever the visitor's page called them.
                let name = if path.ends_with("custom") || path.ends_with("values") { "*" } else { name };
                match (shape, map.get("kind").and_then(Value::as_str).filter(|_| name == "data")) {
                    (Some("event"), Some(kind)) => walk(&format!("event {kind}"), "", value, found),
                    (Some(shape), _) => walk(shape, name, value, found),
                    (None, _) => walk(within, &format!("{path}.{name}"), value, found),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                walk(within, &format!("{path}[]"), value, found);
            }
        }
        _ => drop(found.insert(format!("{within} {}", path.trim_start_matches('.')))),
    }
}

/// What is told in many places has a name of its own.
fn shape(map: &serde_json::Map<String, Value>) -> Option<&'static str> {
    let has = |names: &[&str]| names.iter().all(|name| map.contains_key(*name));
    match () {
        () if has(&["seq", "kind", "author"]) => Some("event"),
        () if has(&["has_more", "visitor", "thread"]) => Some("conversation"),
        () if has(&["thread_id", "status", "visitor_id"]) => Some("state"),
        () if has(&["name", "avatar_url"]) => Some("person"),
        () => None,
    }
}

fn event(id: bus_schema::ConversationId, client: &str, kind: &str, data: Value) -> Value {
    with(id, json!({ "event": { "kind": kind, "client_id": client, "data": data } }))
}

#[tokio::test]
async fn visitors_are_sent_listed_fields_alone_whatever_staff_do() {
    let desk = Desk::open().await;
    let world = &desk.world;
    let tag = TagId::from_uuid(Uuid::now_v7());
    let record = TagRecord {
        tag_id: tag,
        tenant_id: world.tenant,
        name: "thief".into(),
        color: None,
        revision: 1,
        deleted: false,
    };
    world.put(&Record::Tag(record)).await;
    let (mut ann, id) = desk.visitor(&desk.one, 1).await;
    let (mut agent, mut other) =
        (desk.staff(&desk.two, 0, Role::Agent).await, desk.staff(&desk.one, 1, Role::Agent).await);
    let mut boss = desk.staff(&desk.two, 2, Role::Supervisor).await;
    ann.push("group_status").await;
    assert_eq!(ask(&mut boss, "set_priority", with(id, json!({ "priority": "urgent" }))).await, "ok");
    assert_eq!(ask(&mut boss, "set_skills", with(id, json!({ "skills": ["latin"] }))).await, "ok");
    take(&mut agent, id).await;
    ann.event("assigned").await;
    ask(&mut boss, "watch", about(id)).await;
    ask(&mut agent, "tag", with(id, json!({ "tag_id": tag }))).await;
    let mut note = message(&json!(id), "n-1", "SECRET");
    note["event"]["visibility"] = json!("agents");
    ask(&mut agent, "send_event", note).await;
    let form = json!({ "template_id": "t", "fields": [{ "name": "size", "label": "Size", "type": "text" }] });
    let sent = agent.request("send_event", event(id, "f-1", "form", form)).await;
    let said = [
        event(
            id,
            "f-2",
            "form_filled",
            json!({ "form_event_id": sent["payload"]["event_id"], "values": { "size": "M" } }),
        ),
        message(&json!(id), "v-1", "Hello"),
    ];
    for what in said {
        ann.request("send_event", what).await;
    }
    let mine =
        ann.request("send_event", message(&json!(id), "v-2", "Helo")).await["payload"]["event_id"].clone();
    for (client, kind, data) in [
        ("v-3", "message_edited", json!({ "target_id": mine, "text": "Hello!" })),
        ("v-4", "message_deleted", json!({ "target_id": mine })),
    ] {
        assert_eq!(ask(&mut ann, "send_event", event(id, client, kind, data)).await, "ok");
    }
    ask(&mut agent, "typing", with(id, json!({ "on": true }))).await;
    ann.push("signal").await;
    assert_eq!(ask(&mut agent, "send_event", message(&json!(id), "a-1", "Hi Ann")).await, "ok");
    let said = ann.find(|frame| frame["payload"]["event"]["data"]["text"] == "Hi Ann").await;
    let seq = said["payload"]["event"]["seq"].clone();
    for action in ["mark_delivered", "mark_read"] {
        ask(&mut ann, action, with(id, json!({ "up_to_seq": seq }))).await;
        ask(&mut agent, action, with(id, json!({ "up_to_seq": seq }))).await;
    }
    ann.event("read").await;
    ask(&mut other, "join", about(id)).await;
    ann.event("joined").await;
    ask(&mut other, "leave", about(id)).await;
    ann.event("left").await;
    let hand_on = with(id, json!({ "to": { "group_id": world.group }, "queue": true, "note": "SECRET" }));
    assert_eq!(ask(&mut agent, "transfer", hand_on).await, "ok");
    ann.event("transferred").await;
    ann.push("queue_position").await;
    world.put(&world.renamed(0, "Ada")).await;
    ann.push("person").await;
    for (action, payload) in [
        ("list_events", about(id)),
        ("list_threads", about(id)),
        ("update_visitor", json!({ "name": "Anna", "custom": { "size": "M" } })),
        ("set_page", json!({ "url": "https://shop.example/hats" })),
        ("start_thread", json!({})),
        ("rate", with(id, json!({ "score": 5 }))),
        ("list_visitors", json!({})),
        ("send_event", json!({})),
        ("close_thread", about(id)),
    ] {
        ann.request(action, payload).await;
    }
    ann.event("closed").await;
    let mut frames = std::mem::take(&mut ann.read);
    // The same from the beginning: where nothing can be gone on from, and from where it was left.
    let cursor =
        frames.iter().rev().find_map(|frame| frame["payload"]["cursor"].as_str()).unwrap().to_owned();
    for cursor in [cursor.as_str(), "mangled"] {
        let session = world.session(&desk.two, [1; 32], json!({})).await;
        let mut again = Client::connect(desk.two.at, None).await.unwrap();
        let resume = json!({ "resume": [{ "conversation_id": id, "cursor": cursor }] });
        again.request("login", login(session["token"].as_str().unwrap(), resume)).await;
        again.find(|frame| frame["action"] == "caught_up" || frame["action"] == "reset").await;
        frames.append(&mut again.read);
    }

    for frame in &frames {
        let text = frame.to_string();
        assert!(
            !text.contains("SECRET") && !text.contains(&tag.to_string()) && !text.contains("urgent"),
            "{text}"
        );
    }
    let kinds =
        ["assigned", "transferred", "joined", "form", "form_filled", "message_deleted", "read", "closed"];
    for kind in kinds {
        let event = |frame: &Value| frame["payload"]["event"]["kind"] == kind;
        assert!(frames.iter().any(event), "{kind} was never sent");
    }
}
