//! Wrong requests get the documented error, and change nothing.

use std::time::Duration;

use bus_schema::{
    AgentId, ConversationId, TenantId, VisitorId, WidgetId,
    claims::Role,
    config::{Record, WidgetRecord},
};
use ops::{
    auth::{self, SigningKey, VisitorGrant},
    testing::wait_for,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, Got, login, message},
    http,
    world::{self, World, now},
};

async fn stored(world: &World) -> u64 {
    world.log.end().await.unwrap().last
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_without_a_document() {
    let world = World::new().await;
    let edge = world.edge().await;
    let head = |more: &str| format!("GET /v1/ws HTTP/1.1\r\nhost: test\r\n{more}");
    let many: String = (0..100).map(|n| format!("x-{n}: a\r\n")).collect();
    let cases = [
        (format!("{:a<length$}", head("x-long: "), length = 32 * 1024), 431),
        (head(&(many + "\r\n")), 431),
        ("this is no HTTP\r\n\r\n".to_owned(), 400),
    ];
    for (bytes, status) in cases {
        let answer = http::raw(edge.at, bytes.as_bytes()).await;
        assert_eq!((answer.status, &answer.body), (status, &Value::Null), "{answer:?}");
        assert!(answer.head.contains("content-length: 0"), "{answer:?}");
    }
}

#[tokio::test]
async fn wrong_sessions_are_refused_with_a_pointer_and_write_nothing() {
    let world = World::new().await;
    let edge = world.edge().await;
    let body = |more: Value| world.session_body([1; 32], more);
    let cases = [
        (json!({}), 400, "invalid_request", "/widget_key"),
        (json!([]), 400, "invalid_request", ""),
        (body(json!({ "extra": 1 })), 400, "invalid_request", "/extra"),
        (body(json!({ "name": 7 })), 400, "invalid_request", "/name"),
        (body(json!({ "widget_key": "pk_other" })), 404, "not_found", ""),
        (body(json!({ "visitor_key": "short" })), 422, "invalid_request", "/visitor_key"),
        (body(json!({ "name": "x".repeat(201) })), 422, "invalid_request", "/name"),
        (body(json!({ "email": "nobody" })), 422, "invalid_request", "/email"),
        (body(json!({ "initial_message": "" })), 422, "invalid_request", "/initial_message"),
        (body(json!({ "initial_message": "x".repeat(16_385) })), 413, "too_large", "/initial_message"),
        (
            body(json!({ "initial_client_id": "a b", "initial_message": "x" })),
            400,
            "invalid_request",
            "/initial_client_id",
        ),
        (body(json!({ "initial_client_id": "a" })), 422, "invalid_request", "/initial_client_id"),
        (body(json!({ "group_id": Uuid::now_v7() })), 422, "invalid_request", "/group_id"),
        (body(json!({ "group_id": "x" })), 400, "invalid_request", "/group_id"),
        (body(json!({ "identity_token": "x" })), 422, "invalid_request", "/identity_token"),
    ];
    for (body, status, code, pointer) in cases {
        let answer = http::post(edge.at, "/v1/widget/session", &body).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{body} {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"));
        assert!(answer.body["request_id"].as_str().is_some_and(|id| !id.is_empty()));
        if !pointer.is_empty() {
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{body}");
        }
    }
    let missing = http::request(edge.at, "GET", "/v1/nowhere", &[], "").await;
    assert_eq!((missing.status, missing.body["code"].as_str()), (404, Some("not_found")));
    let wrong = http::request(edge.at, "GET", "/v1/widget/session", &[], "").await;
    assert_eq!((wrong.status, wrong.body["code"].as_str()), (405, Some("invalid_request")));
    let large = http::request(edge.at, "POST", "/v1/widget/session", &[], &"x".repeat(70_000)).await;
    assert_eq!(large.status, 413);
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn tokens_that_do_not_count_are_refused_and_closed() {
    let world = World::new().await;
    let edge = world.edge().await;
    let visitor = VisitorId::from_key(world.tenant, &[1; 32]);
    let stranger = SigningKey::generate().unwrap();
    let grant = VisitorGrant { visitor, tenant: world.tenant, widget: world.widget };
    let long_ago = bus_schema::Timestamp::from_millis(now().millis() - 2 * 3_600_000);
    let cases = [
        ("nonsense".to_owned(), 3501),
        (auth::mint_visitor(&stranger, grant, now()).token, 3501),
        (auth::mint_visitor(&world.visitor_key, grant, long_ago).token, 3005),
        // A visitor's key makes no staff.
        (
            auth::mint_staff(
                &world.visitor_key,
                auth::StaffGrant {
                    agent: world.agents[0],
                    tenant: world.tenant,
                    role: Role::Admin,
                    session: bus_schema::SessionId::from_uuid(Uuid::now_v7()),
                },
                now(),
            )
            .token,
            3501,
        ),
    ];
    for (token, code) in cases {
        let mut client = Client::connect(edge.at, None).await.unwrap();
        let answer = client.request("login", login(&token, json!({}))).await;
        assert_eq!(answer["payload"]["error"]["code"], "unauthenticated", "{answer}");
        assert_eq!(client.closed().await, Got::Closed(code));
        let path = format!("/v1/conversations/{}", ConversationId::of(world.tenant, visitor));
        let answer = http::get_as(edge.at, &path, &token).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (401, Some("unauthenticated")));
    }
}

#[tokio::test]
async fn a_token_of_whom_an_edge_has_not_heard_yet_is_not_refused_for_good() {
    let world = World::new().await;
    let edge = world.edge().await;
    let visitor = VisitorId::from_key(world.tenant, &[1; 32]);
    let known = VisitorGrant { visitor, tenant: world.tenant, widget: world.widget };
    let widget = WidgetId::from_uuid(Uuid::now_v7());
    let tenant = TenantId::from_uuid(Uuid::now_v7());
    let refused = async |grant: VisitorGrant| {
        let token = auth::mint_visitor(&world.visitor_key, grant, now()).token;
        let mut client = Client::connect(edge.at, None).await.unwrap();
        let answer = client.request("login", login(&token, json!({}))).await;
        let error = &answer["payload"]["error"];
        (error["code"].clone(), error["retryable"].clone(), client.closed().await)
    };
    for grant in [VisitorGrant { widget, ..known }, VisitorGrant { tenant, ..known }] {
        assert_eq!(refused(grant).await, (json!("unavailable"), json!(true), Got::Closed(3002)));
    }
    let gone = WidgetRecord { revision: 2, deleted: true, ..world::widget(world.tenant, widget, "pk_gone") };
    world.put(&Record::Widget(gone)).await;
    wait_for(Duration::from_secs(10), "the edge to hear of the removal", async || {
        let grant = VisitorGrant { widget, ..known };
        refused(grant).await == (json!("unauthenticated"), json!(false), Got::Closed(3501))
    })
    .await;
}

#[tokio::test]
async fn wrong_requests_on_a_socket_get_the_documented_error_and_change_nothing() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mine = world.session(&edge, [1; 32], json!({ "initial_message": "Mine" })).await;
    let other = world.session(&edge, [2; 32], json!({ "initial_message": "Other" })).await;
    let (own, foreign) = (mine["conversation"]["id"].clone(), other["conversation"]["id"].clone());
    let (mut visitor, _) = Client::login(edge.at, mine["token"].as_str().unwrap()).await;
    let before = stored(&world).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut send = message(&own, "c-1", "x");
        change(&mut send);
        send
    };
    let nobody = Uuid::now_v7().to_string();
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("send_event", json!({}), "invalid_request", "/payload/conversation_id"),
        ("send_event", json!({ "conversation_id": 1 }), "invalid_request", "/payload/conversation_id"),
        ("send_event", with(&|s| s["extra"] = json!(1)), "invalid_request", "/payload/extra"),
        (
            "send_event",
            with(&|s| s["event"]["client_id"] = json!("ü")),
            "invalid_request",
            "/payload/event/client_id",
        ),
        (
            "send_event",
            with(&|s| s["event"]["kind"] = json!("fly")),
            "invalid_request",
            "/payload/event/kind",
        ),
        (
            "send_event",
            with(&|s| s["event"]["kind"] = json!("closed")),
            "invalid_request",
            "/payload/event/kind",
        ),
        (
            "send_event",
            with(&|s| s["event"]["kind"] = json!("rich_message")),
            "invalid_request",
            "/payload/event/kind",
        ),
        (
            "send_event",
            with(&|s| s["event"]["visibility"] = json!("agents")),
            "invalid_request",
            "/payload/event/visibility",
        ),
        (
            "send_event",
            with(&|s| s["event"]["data"] = json!({ "text": 1 })),
            "invalid_request",
            "/payload/event/data",
        ),
        (
            "send_event",
            with(&|s| s["event"]["data"] = json!({ "text": "x".repeat(16_385) })),
            "too_large",
            "/payload/event/data/text",
        ),
        ("send_event", with(&|s| s["thread_id"] = json!(nobody)), "conflict", ""),
        ("send_event", message(&foreign, "c-1", "x"), "not_found", ""),
        ("send_event", message(&json!(nobody), "c-1", "x"), "not_found", ""),
        ("list_events", json!({ "conversation_id": foreign }), "not_found", ""),
        ("list_events", json!({ "conversation_id": own, "limit": 0 }), "invalid_request", "/payload/limit"),
        ("list_events", json!({ "conversation_id": own, "limit": 201 }), "invalid_request", "/payload/limit"),
        (
            "list_events",
            json!({ "conversation_id": own, "before_seq": 9, "after_seq": 1 }),
            "invalid_request",
            "/payload/after_seq",
        ),
        ("close_thread", json!({ "conversation_id": foreign }), "not_found", ""),
        ("start_thread", json!({ "group_id": nobody }), "invalid_request", "/payload/group_id"),
        ("start_thread", json!({ "visitor": { "email": "x" } }), "invalid_request", "/payload/visitor/email"),
        ("take", json!({ "conversation_id": own }), "forbidden", ""),
        ("set_status", json!({ "status": "accepting" }), "forbidden", ""),
        ("list_conversations", json!({ "view": "all" }), "forbidden", ""),
        ("login", json!({}), "conflict", ""),
        ("fly", json!({}), "invalid_request", "/action"),
        ("refresh_token", json!({ "token": other["token"] }), "forbidden", ""),
        ("refresh_token", json!({ "token": "x" }), "unauthenticated", ""),
    ];
    for (action, payload, code, pointer) in cases {
        let answer = visitor.request(action, payload.clone()).await;
        let error = &answer["payload"]["error"];
        assert_eq!(
            (&answer["success"], &error["code"]),
            (&json!(false), &json!(code)),
            "{action} {payload} {answer}"
        );
        if !pointer.is_empty() {
            assert_eq!(error["errors"][0]["pointer"], pointer, "{action} {payload} {answer}");
        }
    }
    let outsider = world.staff_token(world.agents[2], Role::Agent);
    let colleague = world.staff_token(world.agents[0], Role::Agent);
    let ghost = world.staff_token(AgentId::from_uuid(Uuid::now_v7()), Role::Agent);
    for (token, action, payload, code) in [
        (&outsider, "send_event", message(&own, "a", "x"), "not_found"),
        (&outsider, "list_events", json!({ "conversation_id": own }), "not_found"),
        (&ghost, "list_events", json!({ "conversation_id": own }), "not_found"),
        (&colleague, "send_event", message(&own, "a", "x"), "not_participant"),
        (&colleague, "start_thread", json!({}), "forbidden"),
        (&colleague, "assign", json!({}), "forbidden"),
    ] {
        let (mut staff, _) = Client::login(edge.at, token).await;
        let answer = staff.request(action, payload).await;
        assert_eq!(answer["payload"]["error"]["code"], code, "{action} {answer}");
    }
    assert_eq!(stored(&world).await, before, "nothing was written");
}

#[tokio::test]
async fn visitors_never_get_what_only_staff_may_see() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let conversation = session["conversation"]["id"].clone();
    let id: ConversationId = conversation.as_str().unwrap().parse().unwrap();
    let (mut visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let (mut staff, _) = Client::login(edge.at, &world.staff_token(world.agents[0], Role::Agent)).await;
    world.assign(id, world.agents[0]).await;
    staff.push("conversation_available").await;
    let mut note = message(&conversation, "n-1", "a secret");
    note["event"]["visibility"] = json!("agents");
    assert_eq!(staff.request("send_event", note).await["success"], true);
    assert_eq!(staff.event("message").await["event"]["visibility"], "agents");
    staff.request("send_event", message(&conversation, "m-1", "in the open")).await;
    assert_eq!(visitor.event("message").await["event"]["data"]["text"], "in the open");
    let page = visitor.request("list_events", json!({ "conversation_id": conversation })).await;
    let seen: Vec<String> = visitor.seen().map(Value::to_string).chain([page.to_string()]).collect();
    assert!(seen.iter().all(|frame| !frame.contains("secret") && !frame.contains("\"tags\"")), "{seen:?}");
    let token = session["token"].as_str().unwrap();
    for path in [format!("/v1/conversations/{id}"), format!("/v1/conversations/{id}/events?limit=200")] {
        let answer = http::get_as(edge.at, &path, token).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.body.to_string().contains("secret"), "{path}");
    }
}
