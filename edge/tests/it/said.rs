//! What is said beside plain messages: edits, deletes, forms, rich messages, notes.

use bus_schema::claims::Role;
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    signals::{Scene, conversation},
};

fn event(conversation: &Value, client_id: &str, kind: &str, data: Value) -> Value {
    json!({ "conversation_id": conversation, "event": { "kind": kind, "client_id": client_id, "data": data } })
}

fn note(mut event: Value) -> Value {
    event["event"]["visibility"] = json!("agents");
    event
}

/// The code of a refusal and the pointer to what was wrong.
fn refusal(answer: &Value) -> (String, String) {
    let error = &answer["payload"]["error"];
    let pointer = error["errors"][0]["pointer"].as_str().unwrap_or_default();
    (error["code"].as_str().unwrap_or("none").to_owned(), pointer.to_owned())
}

fn refused(code: &str, pointer: &str) -> (String, String) {
    (code.to_owned(), pointer.to_owned())
}

#[tokio::test]
async fn people_edit_and_delete_what_they_said_and_nothing_else() {
    let Scene { world, edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let mine =
        visitor.request("send_event", message(&id, "v-1", "Helo")).await["payload"]["event_id"].clone();
    let theirs = staff.request("send_event", message(&id, "a-1", "Hi")).await["payload"]["event_id"].clone();
    let edit = |client: &str, target: &Value| {
        event(&id, client, "message_edited", json!({ "target_id": target, "text": "Hello" }))
    };
    let delete =
        |client: &str, target: &Value| event(&id, client, "message_deleted", json!({ "target_id": target }));
    let first = visitor.request("send_event", edit("v-2", &mine)).await;
    assert_eq!(first["success"], true, "{first}");
    for client in [&mut tab, &mut staff] {
        let pushed = client.event("message_edited").await;
        assert_eq!(pushed["event"]["data"], json!({ "target_id": mine, "text": "Hello" }));
    }
    const TARGET: &str = "/payload/event/data/target_id";
    let before = world.log.end().await.unwrap().last;
    assert_eq!(refusal(&visitor.request("send_event", edit("v-3", &theirs)).await), refused("forbidden", ""));
    assert_eq!(refusal(&staff.request("send_event", delete("a-3", &mine)).await), refused("forbidden", ""));
    let nothing = json!(uuid::Uuid::now_v7());
    let answer = visitor.request("send_event", delete("v-4", &nothing)).await;
    assert_eq!(refusal(&answer), refused("invalid_request", TARGET));
    let an_edit = first["payload"]["event_id"].clone();
    let answer = visitor.request("send_event", edit("v-5", &an_edit)).await;
    assert_eq!(refusal(&answer), refused("invalid_request", TARGET));
    // Staff's notes are another lane: what is in the open is not found there.
    let answer = staff.request("send_event", note(edit("a-4", &theirs))).await;
    assert_eq!(refusal(&answer), refused("invalid_request", TARGET));
    assert_eq!(world.log.end().await.unwrap().last, before, "nothing was written");

    let mut gone = delete("v-6", &mine);
    let deleted = visitor.request("send_event", gone.clone()).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    // A repeat finds itself, also without saying that it is one; another delete finds it deleted.
    for retry in [true, false] {
        gone["retry"] = json!(retry);
        let again = visitor.request("send_event", gone.clone()).await;
        assert_eq!(
            (&again["payload"]["seq"], &again["payload"]["duplicate"]),
            (&deleted["payload"]["seq"], &json!(true))
        );
    }
    assert_eq!(refusal(&visitor.request("send_event", delete("v-7", &mine)).await), refused("conflict", ""));
    assert_eq!(refusal(&visitor.request("send_event", edit("v-8", &mine)).await), refused("conflict", ""));

    let supervisor = world.staff_token(world.agents[2], Role::Supervisor);
    let (mut supervisor, _) = Client::login(edge.at, &supervisor).await;
    let answer = supervisor.request("send_event", edit("s-1", &theirs)).await;
    assert_eq!(refusal(&answer), refused("forbidden", ""));
    assert_eq!(supervisor.request("send_event", delete("s-2", &theirs)).await["success"], true);
    assert_eq!(staff.event("message_deleted").await["event"]["data"]["target_id"], mine);
    assert_eq!(staff.event("message_deleted").await["event"]["data"]["target_id"], theirs);
}

#[tokio::test]
async fn agents_change_their_own_words_only_while_the_thread_is_open() {
    let Scene { world, edge: _edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let said = staff.request("send_event", message(&id, "a-1", "Hi")).await["payload"]["event_id"].clone();
    let mine = visitor.request("send_event", message(&id, "v-1", "Yes")).await["payload"]["event_id"].clone();
    let data = |target: &Value| json!({ "target_id": target, "text": "Changed" });
    let edit = event(&id, "a-2", "message_edited", data(&said));
    assert_eq!(staff.request("send_event", edit).await["success"], true);
    world.close(conversation(&id)).await;
    visitor.event("closed").await;
    let late = staff.request("send_event", event(&id, "a-3", "message_edited", data(&said))).await;
    assert_eq!(refusal(&late).0, "thread_closed", "{late}");
    let answer = visitor.request("send_event", event(&id, "v-2", "message_edited", data(&mine))).await;
    assert_eq!(answer["success"], true, "a visitor's 15 minutes do not end with the thread: {answer}");
    // The next thread has begun: the edit still names the thread of what it edits.
    visitor.request("start_thread", json!({})).await;
    let answer = visitor.request("send_event", event(&id, "v-3", "message_edited", data(&mine))).await;
    assert_eq!(answer["success"], true, "{answer}");
    let page = visitor.request("list_events", json!({ "conversation_id": id, "limit": 200 })).await;
    let events = page["payload"]["events"].as_array().unwrap();
    let threads: Vec<&Value> = events
        .iter()
        .filter(|event| event["kind"] == "message_edited" || event["id"] == mine)
        .map(|event| &event["thread_id"])
        .collect();
    assert_eq!(threads.len(), 4);
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
}

#[tokio::test]
async fn a_form_is_filled_in_as_it_was_asked() {
    let Scene { world: _world, edge: _edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let fields = json!([{ "name": "city", "label": "City", "required": true }, { "name": "zip" }]);
    let form = event(&id, "a-1", "form", json!({ "template_id": "address", "fields": fields }));
    let form = staff.request("send_event", form).await["payload"]["event_id"].clone();
    visitor.event("form").await;
    let filled = |client: &str, form: &Value, values: Value| {
        event(&id, client, "form_filled", json!({ "form_event_id": form, "values": values }))
    };
    let said = visitor.request("send_event", message(&id, "v-1", "x")).await["payload"]["event_id"].clone();
    const AT: &str = "/payload/event/data";
    for (n, (form, values, pointer)) in [
        (&form, json!({ "zip": "3000" }), "values/city"),
        (&form, json!({ "city": "Bern", "street": "x" }), "values/street"),
        (&form, json!({ "city": { "x": 1 } }), "values/city"),
        (&said, json!({ "city": "Bern" }), "form_event_id"),
        (&json!(uuid::Uuid::now_v7()), json!({}), "form_event_id"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = visitor.request("send_event", filled(&format!("f-{n}"), form, values)).await;
        assert_eq!(refusal(&answer), refused("invalid_request", &format!("{AT}/{pointer}")), "{answer}");
    }
    let answer = visitor.request("send_event", filled("f-9", &form, json!({ "city": "Bern" }))).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(staff.event("form_filled").await["event"]["data"]["values"], json!({ "city": "Bern" }));
}

#[tokio::test]
async fn rich_content_is_bounded_and_leads_to_web_pages_alone() {
    let Scene { world: _world, edge: _edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let rich = |client: &str, elements: Value| {
        event(&id, client, "rich_message", json!({ "template": "cards", "elements": elements }))
    };
    let good = rich("a-1", json!([{ "title": "Shoes", "image_url": "https://shop.example/1.png" }]));
    assert_eq!(staff.request("send_event", good.clone()).await["success"], true);
    visitor.event("rich_message").await;
    let cases = [
        (json!([{ "url": "javascript:alert(1)" }]), "elements/0/url"),
        (json!([]), "elements"),
        (json!(vec![json!({}); 21]), "elements"),
    ];
    for (elements, pointer) in cases {
        let answer = staff.request("send_event", rich("a-2", elements)).await;
        let pointer = format!("/payload/event/data/{pointer}");
        assert_eq!(refusal(&answer), refused("invalid_request", &pointer), "{answer}");
    }
    let answer = visitor.request("send_event", good).await;
    assert_eq!(refusal(&answer), refused("invalid_request", "/payload/event/kind"));
    let file = json!({
        "attachment_id": uuid::Uuid::now_v7(), "name": "a.png", "content_type": "image/png", "size": 1,
    });
    let answer = visitor.request("send_event", event(&id, "v-1", "file", file)).await;
    assert_eq!(refusal(&answer), refused("invalid_request", "/payload/event/data/attachment_id"));
}

#[tokio::test]
async fn several_connections_of_one_person_see_the_same() {
    let Scene { world, edge: _edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    visitor.request("send_event", message(&id, "v-1", "One")).await;
    tab.request("send_event", message(&id, "v-2", "Two")).await;
    let sent = staff.request("send_event", message(&id, "a-1", "Three")).await;
    let mark = json!({ "conversation_id": id, "up_to_seq": sent["payload"]["seq"] });
    tab.request("mark_read", mark).await;
    world.close(conversation(&id)).await;
    let mut seen = Vec::new();
    for client in [&mut visitor, &mut tab] {
        client.event("closed").await;
        let events = client.seen().filter(|frame| frame["action"] == "event");
        seen.push(events.map(|frame| frame["payload"]["event"].clone()).collect::<Vec<_>>());
    }
    let kinds: Vec<&str> = seen[0].iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "message", "message", "read"]);
    assert_eq!(seen[0], seen[1]);
}
