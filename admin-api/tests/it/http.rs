//! What every route has in common.

use ops::testing::wait_for;
use reqwest::Method;
use serde_json::json;

use crate::world::{PASSWORD, World};

const SOON: std::time::Duration = std::time::Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem_with_its_request_id() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let send = |request: reqwest::RequestBuilder| world.send(request.bearer_auth(&ann.token));
    send(world.request(Method::GET, "/v1/nowhere")).await.problem(404, "not_found");
    let wrong = send(world.request(Method::PUT, "/v1/agents")).await.problem(405, "invalid_request");
    assert!(wrong.header("allow").contains("GET"));
    let text = world.request(Method::POST, "/v1/agents").header("content-type", "text/plain").body("{}");
    send(text).await.problem(415, "unsupported_media_type");
    let large = json!({ "name": "x".repeat(100_000) });
    send(world.request(Method::POST, "/v1/groups").json(&large)).await.problem(413, "too_large");
    let large = world.request(Method::POST, "/v1/groups").header("idempotency-key", "k").json(&large);
    send(large).await.problem(413, "too_large");
    let given = send(world.request(Method::GET, "/v1/agents/x").header("x-request-id", "mine-1")).await;
    assert_eq!(given.problem(404, "not_found").header("x-request-id"), "mine-1");
    let unsafe_id =
        send(world.request(Method::GET, "/v1/agents").header("x-request-id", "a b")).await.is(200);
    assert_ne!(unsafe_id.header("x-request-id"), "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_the_field() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let id = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";
    let agent = |field: &str, value: serde_json::Value| {
        let mut body =
            json!({ "email": "b@acme.example", "name": "B", "role": "agent", "password": PASSWORD });
        body[field] = value;
        body
    };
    let long = "x".repeat(201);
    let hours = |time_zone: &str, from: &str| {
        let open = json!([{ "day": "mon", "from": from, "to": "17:00" }]);
        json!({ "name": "g", "routing": { "hours": { "time_zone": time_zone, "open": open } } })
    };
    let cases = [
        ("/v1/agents", json!({}), 400, "/email"),
        ("/v1/agents", json!([]), 400, ""),
        ("/v1/agents", agent("tenant_id", json!(id)), 400, "/tenant_id"),
        ("/v1/agents", agent("email", json!("nobody")), 422, "/email"),
        ("/v1/agents", agent("email", json!(7)), 400, "/email"),
        ("/v1/agents", agent("name", json!("")), 422, "/name"),
        ("/v1/agents", agent("name", json!(long)), 422, "/name"),
        ("/v1/agents", agent("name", json!("a\u{0}b")), 422, "/name"),
        ("/v1/agents", agent("role", json!("owner")), 400, "/role"),
        ("/v1/agents", agent("capacity", json!(101)), 422, "/capacity"),
        ("/v1/agents", agent("capacity", json!(-1)), 400, "/capacity"),
        ("/v1/agents", agent("capacity", json!(1.5)), 400, "/capacity"),
        ("/v1/agents", agent("group_ids", json!(["x"])), 400, "/group_ids/0"),
        ("/v1/agents", agent("group_ids", json!([id])), 422, "/group_ids/0"),
        ("/v1/agents", agent("group_ids", json!([id, id])), 422, "/group_ids/1"),
        ("/v1/agents", agent("skills", json!(["a", ""])), 422, "/skills/1"),
        ("/v1/agents", agent("avatar_url", json!("javascript:alert(1)")), 422, "/avatar_url"),
        ("/v1/agents", agent("password", json!("short")), 422, "/password"),
        ("/v1/groups", json!({ "name": "g", "strategy": "magic" }), 400, "/strategy"),
        ("/v1/groups", json!({ "name": "g", "second_strategy": "sticky" }), 422, "/second_strategy"),
        ("/v1/groups", json!({ "name": "g", "queue_max": 4_000_000_000_u32 }), 422, "/queue_max"),
        ("/v1/groups", json!({ "name": "g", "routing": { "answers": 1 } }), 400, "/routing/answers"),
        ("/v1/groups", json!({ "name": "g", "routing": [60] }), 400, "/routing"),
        ("/v1/groups", json!({ "name": "g", "routing": { "offer_to": 51 } }), 422, "/routing/offer_to"),
        ("/v1/groups", json!({ "name": "g", "routing": { "idle_s": 40_000_000 } }), 422, "/routing/idle_s"),
        ("/v1/groups", hours("Mars/Base", "09:00"), 422, "/routing/hours/time_zone"),
        ("/v1/groups", hours("Europe/Berlin", "9:00"), 422, "/routing/hours/open/0/from"),
        (
            "/v1/widgets",
            json!({ "name": "w", "allowed_origins": ["www.acme.example"] }),
            422,
            "/allowed_origins/0",
        ),
        ("/v1/widgets", json!({ "name": "w", "default_group_id": id }), 422, "/default_group_id"),
        ("/v1/widgets", json!({ "name": "w", "identity_required": true }), 422, "/identity_required"),
        (
            "/v1/widgets",
            json!({ "name": "w", "identity": { "algorithm": "none" } }),
            400,
            "/identity/algorithm",
        ),
        ("/v1/widgets", json!({ "name": "w", "identity": ["HS256", "x".repeat(40)] }), 400, "/identity"),
        ("/v1/widgets", json!({ "name": "w", "theme": { "a": "\u{0}" } }), 422, "/theme"),
    ];
    for (path, body, status, pointer) in cases {
        let got = world.post(&ann, path, body.clone()).await;
        assert_eq!(got.status.as_u16(), status, "{path} {body}: {:#}", got.body);
        let got = got.problem(status, "invalid_request");
        assert_eq!(got.body["errors"][0]["pointer"], pointer, "{path} {body}: {:#}", got.body);
    }
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "colour=red", "deleted=maybe"] {
        let got = world.get(&ann, &format!("/v1/agents?{query}")).await.problem(400, "invalid_request");
        let field = query.split('=').next().unwrap();
        assert_eq!(got.body["errors"][0]["pointer"], format!("/query/{field}"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_gives_the_same_answer() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let eve = world.agent(&ann, "eve", "admin").await;
    let post = |who: &crate::world::Person, name: &str| {
        let request = world.request(Method::POST, "/v1/groups").bearer_auth(&who.token);
        world.send(request.header("idempotency-key", "key-1").json(&json!({ "name": name })))
    };
    let first = post(&ann, "A").await.is(201);
    let again = post(&ann, "A").await.is(201);
    assert_eq!((&first.body, first.etag()), (&again.body, again.etag()));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    post(&ann, "B").await.problem(422, "idempotency_mismatch");
    // Another person's keys are their own.
    post(&eve, "B").await.is(201);
    // What failed is not remembered.
    let taken = |key: &'static str, name: &'static str| {
        let request = world.request(Method::POST, "/v1/groups").bearer_auth(&ann.token);
        world.send(request.header("idempotency-key", key).json(&json!({ "name": name })))
    };
    taken("key-2", "A").await.problem(409, "already_exists");
    taken("key-2", "C").await.is(201);
    // A client that hangs up gets the answer when it comes again.
    let request = world.request(Method::POST, "/v1/agents").bearer_auth(&ann.token);
    let slow = json!({ "email": "new@acme.example", "name": "n", "role": "agent", "password": crate::world::PASSWORD });
    let slow = request.header("idempotency-key", "key-4").json(&slow);
    let (again, hung_up) = (slow.try_clone().unwrap(), tokio::spawn(world.send_alone(slow)));
    wait_for(SOON, "the request to be under way", async || world.begun("key-4").await).await;
    hung_up.abort();
    wait_for(SOON, "the answer to be remembered", async || {
        let got = world.send(again.try_clone().unwrap()).await;
        got.status == 201 && got.header("idempotency-replayed") == "true"
    })
    .await;
    let many = futures::future::join_all((0..8).map(|_| taken("key-3", "D"))).await;
    let ids: std::collections::BTreeSet<_> =
        many.iter().filter(|got| got.status == 201).map(|got| got.id()).collect();
    assert_eq!(ids.len(), 1);
    assert!(many.iter().all(|got| got.status == 201 || got.status == 409), "{many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_needs_nobody_else() {
    let world = World::alone().await;
    let document = world.send(world.request(Method::GET, "/openapi.json")).await.is(200);
    assert_eq!(document.body["info"]["title"], "Chatbus admin API");
    for path in ["/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"] {
        let page = world.request(Method::GET, path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        if path == "/docs/" {
            let text = page.text().await.unwrap();
            assert!(text.contains("swagger-ui") && !text.contains("https://"), "{text}");
        }
    }
}
