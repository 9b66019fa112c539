//! What the five systems that inspired this one offer over HTTP, line by line, through the running services.
//! `docs/seeds.md` says which line is which test.

mod accounts;
mod api;
mod bounds;
mod files;
mod live;
mod things;

pub use api::shared;

use bus_schema::ErrorCode;
use ops::{
    client::{new_client_id, new_visitor_key},
    testing::wait_for,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use api::{Api, PASSWORD, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn register_and_sign_up() {
    let api = Api::new().await;
    let me = api.get("/v1/auth/me").await.is(200).body;
    assert_eq!((&me["agent"]["role"], &me["agent"]["email"]), (&json!("admin"), &json!(api.email)));
    let chosen = json!({ "tenant_name": "x", "name": "x", "email": "x@seed.example", "password": PASSWORD, "role": "admin" });
    let refused = api.post("/v1/auth/register", chosen).await.problem(400, "invalid_request");
    assert_eq!(refused.body["errors"][0]["pointer"], "/role", "nobody chooses a role");
    let (_, token) = api.agent("bob", &[]).await;
    let other = json!({ "email": "y@seed.example", "name": "y", "role": "admin" });
    api.call_as(&token, Method::POST, "/v1/agents", Some(other)).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn login_logout_profile_and_status() {
    let api = Api::new().await;
    let login = |password: &str| json!({ "email": api.email, "password": password });
    api.post("/v1/auth/login", login("not the password")).await.problem(401, "unauthenticated");
    let session = api.post("/v1/auth/login", login(PASSWORD)).await.is(200).body;
    let token = session["access_token"].as_str().unwrap();
    let named =
        api.call_as(token, Method::PATCH, "/v1/auth/me", Some(json!({ "job_title": "Helper" }))).await;
    assert_eq!(named.is(200).body["job_title"], "Helper");
    let status = wait_for(SOON, "the router to know the agent", async || {
        let put =
            api.call_as(token, Method::PUT, "/v1/auth/status", Some(json!({ "status": "accepting" }))).await;
        if put.status == 200 { Ok(put.body) } else { Err(put.body.to_string()) }
    });
    assert_eq!(status.await["status"], "accepting");
    api.call_as(token, Method::POST, "/v1/auth/logout", None).await.is(204);
    api.call_as(token, Method::GET, "/v1/auth/me", None).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_session_and_sessions() {
    let api = Api::new().await;
    api.post("/v1/auth/validate", json!({})).await.is(200);
    let second =
        api.post("/v1/auth/login", json!({ "email": api.email, "password": PASSWORD })).await.is(200).body;
    let second = second["access_token"].as_str().unwrap();
    let sessions = api.get("/v1/auth/sessions").await.is(200);
    assert_eq!(sessions.ids().len(), 2);
    let own = api.call_as(second, Method::GET, "/v1/auth/sessions", None).await;
    let current = own.body["data"].as_array().unwrap().iter().find(|one| one["current"] == true).unwrap();
    let path = format!("/v1/auth/sessions/{}", current["id"].as_str().unwrap());
    api.delete(&path).await.is(204);
    api.call_as(second, Method::POST, "/v1/auth/validate", None).await.problem(401, "unauthenticated");
    api.post("/v1/auth/validate", json!({})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_crud_online_and_all() {
    let api = Api::new().await;
    let new = json!({ "email": format!("{}@seed.example", Uuid::now_v7()), "name": "Bob", "role": "agent" });
    let bob = api.post("/v1/agents", new).await.is(201).id();
    let path = format!("/v1/agents/{bob}");
    assert_eq!(api.get("/v1/agents").await.is(200).ids().len(), 2);
    assert_eq!(api.get(&path).await.is(200).body["capacity"], 5);
    assert_eq!(api.patch(&path, json!({ "capacity": 7 })).await.is(200).body["capacity"], 7);
    assert_eq!(api.get("/v1/agents/online").await.is(200).ids(), Vec::<&str>::new());
    api.delete(&path).await.is(204);
    assert_eq!(api.get("/v1/agents?deleted=true").await.is(200).ids(), [bob.as_str()]);
    api.post(&format!("{path}/restore"), json!({})).await.is(200);
    assert_eq!(api.get("/v1/agents").await.is(200).ids().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_crud_strategy_default_and_members() {
    let api = Api::new().await;
    let new = json!({ "name": "Support Team", "strategy": "least_loaded", "is_default": true });
    let group = api.post("/v1/groups", new).await.is(201).id();
    let path = format!("/v1/groups/{group}");
    assert_eq!(api.get("/v1/tenant").await.is(200).body["default_group_id"], group.as_str());
    assert_eq!(
        api.patch(&path, json!({ "strategy": "round_robin" })).await.is(200).body["strategy"],
        "round_robin"
    );
    let member = format!("{path}/members/{}", api.me);
    assert_eq!(
        api.put(&member, json!({ "priority": "first" })).await.is(200).body["members"][0]["agent_id"],
        api.me.as_str()
    );
    api.delete(&member).await.is(204);
    api.delete(&path).await.is(204);
    assert_eq!(api.get("/v1/groups").await.is(200).ids().len(), 0);
    api.post(&format!("{path}/restore"), json!({})).await.is(200);
    assert_eq!(api.get(&path).await.is(200).body["name"], "Support Team");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_crud_and_tagging_a_conversation() {
    let api = Api::new().await;
    let tag = api.post("/v1/tags", json!({ "name": "billing" })).await.is(201).id();
    let path = format!("/v1/tags/{tag}");
    api.patch(&path, json!({ "name": "refund", "color": "#1f8a70" })).await.is(200);
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.put(&format!("/v1/conversations/{}/tags/{tag}", visit.conversation), json!({})).await.is(204);
    let list = format!("/v1/conversations?tag_id={tag}");
    let tagged = api
        .shows(&list, "the tag to show", |body| body["data"][0]["thread"]["tags"][0] == tag.as_str())
        .await;
    assert_eq!(tagged["data"][0]["id"], visit.conversation.as_str());
    api.delete(&format!("/v1/conversations/{}/tags/{tag}", visit.conversation)).await.is(204);
    api.shows(&list, "the tag to go", |body| body["data"].as_array().is_some_and(Vec::is_empty)).await;
    api.delete(&path).await.is(204);
    api.post(&format!("{path}/restore"), json!({})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn widget_session_makes_a_visitor_and_a_conversation() {
    let api = Api::new().await;
    let group = api.post("/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let widget = api.widget(Some(&group)).await;
    let visit = api.visit(&widget, "I need help").await;
    let own = format!("/v1/conversations/{}", visit.conversation);
    let conversation = api.edge(&visit.token, Method::GET, &own, None).await.is(200).body;
    assert_eq!(
        (&conversation["thread"]["group_id"], &conversation["visitor"]["name"]),
        (&json!(group), &json!("Vera"))
    );
    // Another group than the widget's, where the session names it.
    let other = api.post("/v1/groups", json!({ "name": "Sales" })).await.is(201).id();
    let session = json!({
        "widget_key": widget, "visitor_key": new_visitor_key(), "initial_message": "I want more", "group_id": other,
    });
    let there = wait_for(SOON, "the edge to know the group", async || {
        let request = api.http.post(format!("{}/v1/widget/session", api.edge_url)).json(&session);
        let got = api.send(request).await;
        if got.status == 200 { Ok(got.body) } else { Err(got.body.to_string()) }
    })
    .await;
    assert_eq!(there["conversation"]["thread"]["group_id"], other);
    let config = api.http.get(format!("{}/v1/widget/config/{widget}", api.edge_url));
    assert_eq!(api.send(config).await.is(200).body["name"], "Site");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_get_conversations_mine_and_assigned_to_me() {
    let api = Api::new().await;
    let (bob, token) = api.agent("bob", &[]).await;
    let widget = api.widget(None).await;
    let (first, second) = (api.visit(&widget, "one").await, api.visit(&widget, "two").await);
    api.shows("/v1/conversations", "both", |body| body["data"].as_array().is_some_and(|all| all.len() == 2))
        .await;
    api.assign(&first.conversation, &bob).await;
    let by_agent = format!("/v1/conversations?agent_id={bob}");
    api.shows(&by_agent, "the assignment", |body| body["data"][0]["id"] == first.conversation.as_str()).await;
    let mine = api.call_as(&token, Method::GET, "/v1/conversations?view=mine", None).await.is(200);
    assert_eq!(mine.ids(), [first.conversation.as_str()]);
    let one = |id: &str| format!("/v1/conversations/{id}");
    api.call_as(&token, Method::GET, &one(&first.conversation), None).await.is(200);
    api.call_as(&token, Method::GET, &one(&second.conversation), None).await.problem(404, "not_found");
    // The visitor's own, and nobody else's.
    api.edge(&first.token, Method::GET, &one(&first.conversation), None).await.is(200);
    api.edge(&first.token, Method::GET, &one(&second.conversation), None).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn assign_transfer_resolve_close_and_reopen() {
    let api = Api::new().await;
    let ((bob, _), (eve, token)) = (api.agent("bob", &[]).await, api.agent("eve", &[]).await);
    let visit = api.visit(&api.widget(None).await, "hello").await;
    let path = |what: &str| format!("/v1/conversations/{}/{what}", visit.conversation);
    api.assign(&visit.conversation, &bob).await;
    api.call_as(&token, Method::POST, &path("close"), None).await.problem(404, "not_found");
    // Who is not there gets nothing; a group's queue waits for them.
    api.post(&path("transfer"), json!({ "agent_id": eve })).await.problem(409, "agent_unavailable");
    let group = api.post("/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    wait_for(SOON, "the router to know the group", async || {
        let moved = api.post(&path("transfer"), json!({ "group_id": group, "queue": true })).await;
        if moved.status == 200 { Ok(()) } else { Err(moved.body.to_string()) }
    })
    .await;
    let queued = format!("/v1/conversations?status=queued&group_id={group}");
    api.shows(&queued, "the transfer", |body| body["data"][0]["id"] == visit.conversation.as_str()).await;
    // Who is of the group takes it from there, for themselves alone.
    let member = format!("/v1/groups/{group}/members/{eve}");
    api.call_as(&api.token, Method::PUT, &member, Some(json!({}))).await.is(200);
    let assign = async |agent: &str| {
        api.call_as(&token, Method::POST, &path("assign"), Some(json!({ "agent_id": agent }))).await
    };
    assign(&bob).await.problem(403, "forbidden");
    wait_for(SOON, "the router to know the member", async || {
        let taken = assign(&eve).await;
        if taken.status == 200 { Ok(()) } else { Err(taken.body.to_string()) }
    })
    .await;
    let taken = format!("/v1/conversations?agent_id={eve}");
    api.shows(&taken, "who took it", |body| body["data"][0]["id"] == visit.conversation.as_str()).await;
    api.post(&path("resolve"), json!({})).await.is(200);
    let threads =
        api.shows(&path("threads"), "the close", |body| body["data"][0]["status"] == "closed").await;
    assert_eq!(threads["data"][0]["close_reason"], "resolved");
    let again = api.post(&path("reopen"), json!({})).await.is(200).body;
    assert_ne!(again["thread_id"], visit.thread.as_str());
    api.post(&path("close"), json!({})).await.is(200);
    let threads =
        api.shows(&path("threads"), "both closed", |body| body["data"][1]["status"] == "closed").await;
    assert_eq!(threads["data"][1]["previous_thread_id"], visit.thread.as_str());
    let why = api.get(&path("routing")).await.is(200).body;
    assert!(why["data"].as_array().is_some_and(|all| !all.is_empty()), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_with_the_visitors_token() {
    let api = Api::new().await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    let path = format!("/v1/conversations/{}/rate", visit.conversation);
    let rate = async |token: &str, body: Value| api.edge(token, Method::PUT, &path, Some(body)).await;
    let bad = rate(&visit.token, json!({ "score": 6 })).await.problem(422, "invalid_request");
    assert_eq!(bad.body["errors"][0]["pointer"], "/score");
    let rated = rate(&visit.token, json!({ "score": 5, "comment": "thanks" })).await.is(200).body;
    assert_eq!(rated["duplicate"], false);
    assert_eq!(
        rate(&visit.token, json!({ "score": 5, "comment": "thanks" })).await.is(200).body["duplicate"],
        true
    );
    rate(&visit.token, json!({ "score": 1 })).await.problem(409, "already_exists");
    let other = api.visit(&api.widget_named("Other").await, "hi").await;
    rate(&other.token, json!({ "score": 5 })).await.problem(404, "not_found");
    rate(&api.token, json!({ "score": 5 })).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_conversation_and_send() {
    let api = Api::new().await;
    let (bob, token) = api.agent("bob", &[]).await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.assign(&visit.conversation, &bob).await;
    let (of_conversation, of_thread) = (
        format!("/v1/conversations/{}/events", visit.conversation),
        format!("/v1/threads/{}/events", visit.thread),
    );
    let say = async |path: &str, body: Value| api.call_as(&token, Method::POST, path, Some(body)).await;
    say(&of_conversation, json!({ "content": "one" })).await.is(201);
    wait_for(SOON, "the read model to have the thread", async || {
        let said = say(&of_thread, json!({ "author_type": "agent", "content": "two" })).await;
        if said.status == 201 { Ok(()) } else { Err(said.body.to_string()) }
    })
    .await;
    say(&of_thread, json!({ "author_type": "visitor", "content": "I am not" }))
        .await
        .problem(403, "forbidden");
    let texts = |body: &Value| -> Vec<String> {
        let events =
            body["data"].as_array().unwrap().iter().chain(body["events"].as_array().into_iter().flatten());
        events.filter_map(|event| event["data"]["text"].as_str().map(str::to_owned)).collect()
    };
    let all = api.shows(&of_conversation, "both", |body| texts(body).len() == 3).await;
    assert_eq!(texts(&all), ["hello", "one", "two"]);
    let before = format!(
        "{of_conversation}?before_seq={}&limit=1",
        all["data"].as_array().unwrap().last().unwrap()["seq"]
    );
    assert_eq!(api.get(&before).await.is(200).body["has_more"], true);
    // The visitor reads the same at the edge.
    let seen = api.edge(&visit.token, Method::GET, &of_conversation, None).await.is(200).body;
    assert!(seen["events"].as_array().unwrap().iter().any(|event| event["data"]["text"] == "two"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_edit_and_delete() {
    let api = Api::new().await;
    let (bob, token) = api.agent("bob", &[]).await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.assign(&visit.conversation, &bob).await;
    let path = format!("/v1/conversations/{}/events", visit.conversation);
    let said =
        api.call_as(&token, Method::POST, &path, Some(json!({ "content": "helo" }))).await.is(201).body;
    let event = format!("/v1/events/{}", said["event_id"].as_str().unwrap());
    api.shows(&format!("{path}?min_seq={}", said["seq"]), "the message", |_| true).await;
    api.call_as(&token, Method::PATCH, &event, Some(json!({ "text": "hello" }))).await.is(200);
    let deleted = api.delete(&event).await.is(200).body;
    let events = api.get(&format!("{path}?min_seq={}", deleted["seq"])).await.is(200).body;
    let kinds: Vec<_> =
        events["data"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert!(
        kinds.ends_with(&["message", "message_edited", "message_deleted"]),
        "the log keeps all: {kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn search_in_a_room_and_over_all() {
    let api = Api::new().await;
    let visit = api.visit(&api.widget(None).await, "where is my parcel").await;
    let one = format!("/v1/conversations/{}/search?q=parc", visit.conversation);
    let found = wait_for(SOON, "the message to be found", async || {
        let got = api.get(&one).await;
        let highlight = got.body["data"][0]["highlight"].as_str().map(str::to_owned);
        highlight.ok_or_else(|| got.body.to_string())
    });
    assert_eq!(found.await, "where is my <mark>parcel</mark>");
    let all = api.get("/v1/search?q=%22my%20parcel%22").await.is(200).body;
    assert_eq!(all["data"][0]["conversation_id"], visit.conversation.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn mark_read_read_all_and_unread_count() {
    let api = Api::new().await;
    let (bob, token) = api.agent("bob", &[]).await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.assign(&visit.conversation, &bob).await;
    let unread = async |wanted: i64| {
        wait_for(SOON, &format!("{wanted} unread"), async || {
            let got = api.call_as(&token, Method::GET, "/v1/unread-count", None).await;
            if got.body["unread"] == wanted { Ok(()) } else { Err(got.body.to_string()) }
        })
        .await;
    };
    unread(1).await;
    let events = api.get(&format!("/v1/conversations/{}/events", visit.conversation)).await.is(200).body;
    let message = events["data"].as_array().unwrap().iter().find(|event| event["kind"] == "message").unwrap();
    let read = format!("/v1/events/{}/read", message["id"].as_str().unwrap());
    api.call_as(&token, Method::PUT, &read, None).await.is(200);
    unread(0).await;
    let visitor = api.connect(&visit.token, |_| ()).await;
    for text in ["are you there?", "hello?"] {
        visitor.send_text(visit.conversation.parse().unwrap(), text).unwrap().done().await.unwrap();
    }
    unread(2).await;
    let all = format!("/v1/conversations/{}/read-all", visit.conversation);
    api.call_as(&token, Method::POST, &all, None).await.is(200);
    unread(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_list_get_and_update() {
    let api = Api::new().await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    let list = api
        .shows("/v1/visitors", "the visitor", |body| body["data"][0]["id"] == visit.visitor.as_str())
        .await;
    assert_eq!(list["data"][0]["email"], "vera@example.com");
    let path = format!("/v1/visitors/{}", visit.visitor);
    assert_eq!(api.get(&path).await.is(200).body["name"], "Vera");
    let changed =
        api.patch(&path, json!({ "name": "Vera B.", "custom": { "plan": "gold" } })).await.is(200).body;
    let now = api.get(&format!("{path}?min_seq={}", changed["seq"])).await.is(200).body;
    assert_eq!((&now["name"], &now["custom"]), (&json!("Vera B."), &json!({ "plan": "gold" })));
    assert_eq!(now["email"], "vera@example.com", "what is left out stays");
    api.patch(&path, json!({ "email": "nobody" })).await.problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_stats() {
    let api = Api::new().await;
    api.visit(&api.widget(None).await, "hello").await;
    api.shows("/v1/admin/stats", "the conversation to count", |body| body["conversations"]["queued"] == 1)
        .await;
    assert_eq!(api.get("/v1/admin/bus").await.is(200).body["connected"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn canned_responses_crud_with_shortcuts() {
    let api = Api::new().await;
    let new = json!({ "shortcut": "hi", "text": "Hello, how can I help?" });
    let path =
        format!("/v1/canned-responses/{}", api.post("/v1/canned-responses", new.clone()).await.is(201).id());
    api.post("/v1/canned-responses", new).await.problem(409, "already_exists");
    assert_eq!(api.patch(&path, json!({ "text": "Hi!" })).await.is(200).body["text"], "Hi!");
    assert_eq!(api.get("/v1/canned-responses").await.is(200).body["data"][0]["shortcut"], "hi");
    api.delete(&path).await.is(204);
    api.get(&path).await.problem(404, "not_found");
    api.post(&format!("{path}/restore"), json!({})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn action_templates_and_the_forms_made_of_them() {
    let api = Api::new().await;
    let fields = json!([{ "name": "order", "label": "Order number", "required": true }]);
    let new = json!({ "name": "Order", "fields": fields });
    let template = api.post("/v1/action-templates", new).await.is(201).id();
    let (bob, token) = api.agent("bob", &[]).await;
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.assign(&visit.conversation, &bob).await;
    let template = api
        .call_as(&token, Method::GET, &format!("/v1/action-templates/{template}"), None)
        .await
        .is(200)
        .body;
    let data = json!({ "template_id": template["id"], "fields": template["fields"] });
    let form = json!({ "event": { "kind": "form", "client_id": "f-1", "data": data } });
    let path = format!("/v1/conversations/{}/events", visit.conversation);
    let form = api.call_as(&token, Method::POST, &path, Some(form)).await.is(201).body;
    let seen = api.edge(&visit.token, Method::GET, &path, None).await.is(200).body;
    assert!(seen["events"].as_array().unwrap().iter().any(|event| event["kind"] == "form"), "{seen}");
    // The visitor answers over the socket.
    let client = api.connect(&visit.token, |_| ()).await;
    let fill = async |values: Value| {
        let name = new_client_id();
        let data = json!({ "form_event_id": form["event_id"], "values": values });
        let event = json!({ "kind": "form_filled", "client_id": name, "data": data }).to_string();
        let conversation = visit.conversation.parse().unwrap();
        client.send_json(conversation, None, name, event.into()).unwrap().done().await
    };
    let refused = fill(json!({})).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest), "it is required: {refused}");
    let filled = fill(json!({ "order": "A-17" })).await.unwrap();
    let read = format!("{path}?min_seq={}", filled.seq);
    let events = api.call_as(&token, Method::GET, &read, None).await.is(200).body;
    let last = events["data"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["data"]["values"]),
        (&json!("form_filled"), &json!({ "order": "A-17" }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inbox_operations_on_many_conversations() {
    let api = Api::new().await;
    let (bob, _) = api.agent("bob", &[]).await;
    let tag = api.post("/v1/tags", json!({ "name": "vip" })).await.is(201).id();
    let widget = api.widget(None).await;
    let ids = [api.visit(&widget, "one").await.conversation, api.visit(&widget, "two").await.conversation];
    api.assign(&ids[0], &bob).await;
    for (action, more) in [
        ("assign", json!({ "agent_id": bob })),
        ("tag", json!({ "tag_id": tag })),
        ("untag", json!({ "tag_id": tag })),
        ("close", json!({})),
    ] {
        let mut body = more;
        (body["ids"], body["action"]) = (json!(ids), json!(action));
        let results = api.post("/v1/conversations/bulk", body).await.is(200).body;
        let results = results["results"].as_array().unwrap();
        assert!(
            results.len() == 2 && results.iter().all(|one| one["success"] == true),
            "{action}: {results:?}"
        );
    }
    // What cannot be done is told of each, and is no fault of the request.
    let again = json!({ "ids": [ids[0], Uuid::now_v7()], "action": "close" });
    let results = api.post("/v1/conversations/bulk", again).await.is(200).body["results"].clone();
    let told = |n: usize| (results[n]["status"].clone(), results[n]["error"]["code"].clone());
    assert_eq!(told(0), (json!(409), json!("thread_closed")));
    assert_eq!(told(1), (json!(404), json!("not_found")));
    api.shows("/v1/conversations?status=closed", "both to be closed", |body| {
        body["data"].as_array().is_some_and(|all| all.len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_several_projects() {
    let api = Api::new().await;
    let second = json!({ "tenant_name": "Second", "name": "Ann", "email": api.email, "password": PASSWORD });
    let second = api.post("/v1/auth/register", second).await.is(201).body;
    let login = json!({ "email": api.email, "password": PASSWORD });
    let choice = api.post("/v1/auth/login", login.clone()).await.problem(401, "tenant_required").body;
    assert_eq!(choice["data"]["tenants"].as_array().unwrap().len(), 2);
    let mut chosen = login;
    chosen["tenant_id"] = second["tenant"]["id"].clone();
    assert_eq!(api.post("/v1/auth/login", chosen).await.is(200).body["tenant"]["name"], "Second");
    let token = second["access_token"].as_str().unwrap();
    let agents = api.call_as(token, Method::GET, "/v1/agents", None).await.is(200);
    assert!(!agents.ids().contains(&api.me.as_str()), "another project's agents do not show");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_on_the_public_and_the_operations_ports() {
    let api = Api::new().await;
    for url in [&api.admin_url, &api.edge_url] {
        let got = api.send(api.http.get(format!("{url}/healthz"))).await.is(200);
        assert!(got.headers.get("content-type").is_none() || got.body.to_string().len() < 100, "no detail");
        for path in ["/livez", "/readyz"] {
            api.send(api.http.get(format!("{url}{path}"))).await.is(404);
        }
    }
    let env = shared().await.env();
    for service in ["EDGE", "ROUTER", "PERSISTER", "ADMIN_API"] {
        let url = &env[&format!("CHATBUS_{service}_OPS_URLS")];
        let livez = api.send(api.http.get(format!("{url}/livez"))).await.is(200);
        assert_eq!(livez.body, "ok\n", "{service}");
        wait_for(SOON, &format!("{service} to be ready"), async || {
            let readyz = api.send(api.http.get(format!("{url}/readyz?verbose"))).await;
            if readyz.status == 200 { Ok(()) } else { Err(readyz.body.to_string()) }
        })
        .await;
    }
}

/// `docs/seeds.md` names every test here that walks a line, and nothing else.
#[test]
fn every_line_of_the_page_has_its_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../docs/seeds.md")).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    let named: std::collections::BTreeSet<String> = lines
        .map(|line| {
            line.trim_end_matches(" |").rsplit('|').next().unwrap().trim().trim_matches('`').to_owned()
        })
        .collect();
    let files = [
        include_str!("seeds.rs"),
        include_str!("seeds/accounts.rs"),
        include_str!("seeds/bounds.rs"),
        include_str!("seeds/files.rs"),
        include_str!("seeds/live.rs"),
        include_str!("seeds/things.rs"),
    ];
    let tests = files.iter().flat_map(|file| {
        file.split("#[tokio::test(flavor = \"multi_thread\")]\nasync fn ")
            .skip(1)
            .map(|rest| rest.split('(').next().unwrap().to_owned())
    });
    let tests = tests.collect();
    assert_eq!(named, tests);
}
