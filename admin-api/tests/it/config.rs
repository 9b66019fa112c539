//! Groups, widgets and the tenant itself.

use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_changed_deleted_and_restored() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let new = json!({ "name": "Support Team", "strategy": "least_loaded", "is_default": true });
    let made = world.post(&ann, "/v1/groups", new).await.is(201);
    let path = format!("/v1/groups/{}", made.id());
    let tenant = world.get(&ann, "/v1/tenant").await.is(200);
    assert_eq!(tenant.body["default_group_id"], made.id());
    world.post(&ann, "/v1/groups", json!({ "name": "support team" })).await.problem(409, "already_exists");

    let member = format!("{path}/members/{}", ann.id);
    let got = world.call(Method::PUT, &ann, &member, json!({ "priority": "first" })).await.is(200);
    assert_eq!(got.body["members"], json!([{ "agent_id": ann.id, "priority": "first" }]));
    let got = world.call(Method::PUT, &ann, &member, json!({ "priority": "supervisor" })).await.is(200);
    assert_eq!(got.body["members"], json!([{ "agent_id": ann.id, "priority": "supervisor" }]));
    world.delete(&ann, &member).await.is(204);
    world.delete(&ann, &member).await.is(204);

    let got = world.patch(&ann, &path, json!({ "strategy": "round_robin", "queue_max": 9 })).await.is(200);
    assert_eq!(
        (got.body["strategy"].as_str(), got.body["queue_max"].as_i64()),
        (Some("round_robin"), Some(9))
    );
    let open = json!([{ "day": "fri", "from": "09:00", "to": "17:00" }]);
    let routing = json!({ "answer_s": 45, "hours": { "time_zone": "Europe/Berlin", "open": open } });
    let got = world.patch(&ann, &path, json!({ "routing": routing })).await.is(200);
    assert_eq!((&got.body["routing"], &got.body["queue_max"]), (&routing, &json!(9)));
    let got = world.patch(&ann, &path, json!({ "routing": { "answer_s": 0 } })).await.is(200);
    assert_eq!(got.body["routing"], json!({ "answer_s": 0 }), "all of it is replaced");
    let got = world.patch(&ann, "/v1/tenant", json!({ "routing": { "idle_s": 600 } })).await.is(200);
    assert_eq!(got.body["routing"], json!({ "idle_s": 600 }));
    world.delete(&ann, &path).await.is(204);
    world.get(&ann, &path).await.problem(404, "not_found");
    assert_eq!(world.get(&ann, "/v1/tenant").await.body["default_group_id"], json!(null));
    world.post(&ann, "/v1/groups", json!({ "name": "Support Team" })).await.is(201);
    world.post(&ann, &format!("{path}/restore"), json!(null)).await.problem(409, "already_exists");
    let other = world.get(&ann, "/v1/groups").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    world.patch(&ann, &format!("/v1/groups/{other}"), json!({ "name": "Other" })).await.is(200);
    world.post(&ann, &format!("{path}/restore"), json!(null)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn widgets_are_made_changed_deleted_and_restored() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let new = json!({
        "name": "Site", "allowed_origins": ["https://www.acme.example"], "theme": { "color": "#00f" },
        "identity": { "algorithm": "HS256" }, "identity_required": true,
    });
    let made = world.post(&ann, "/v1/widgets", new).await.is(201);
    assert_eq!(made.body["identity_algorithm"], "HS256");
    let path = format!("/v1/widgets/{}", made.id());
    let rotated = world.post(&ann, &format!("{path}/rotate-key"), json!(null)).await.is(200);
    assert_ne!(rotated.body["key"], made.body["key"]);
    world.patch(&ann, &path, json!({ "identity": null })).await.problem(422, "invalid_request");
    let got = world.patch(&ann, &path, json!({ "identity": null, "identity_required": false })).await.is(200);
    assert_eq!(got.body["identity_algorithm"], json!(null));
    world.delete(&ann, &path).await.is(204);
    world.get(&ann, &path).await.problem(404, "not_found");
    world.post(&ann, &format!("{path}/restore"), json!(null)).await.is(200);
    assert_eq!(world.get(&ann, &path).await.is(200).body["key"], rotated.body["key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_theme_reads_as_it_was_written() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    // Postgres prints numbers in full: the first took 309 digits, which were then more than the reader's limit.
    let theme = json!({
        "numbers": [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.1, 123_456_789.123_456_79, u64::MAX, i64::MIN],
        "text": "\u{1F600} \\u0000", "nothing": null,
    });
    let made = world.post(&ann, "/v1/widgets", json!({ "name": "Site", "theme": theme })).await.is(201);
    assert_eq!(world.get(&ann, &format!("/v1/widgets/{}", made.id())).await.is(200).body["theme"], theme);
    assert_eq!(world.get(&ann, "/v1/widgets").await.is(200).body["data"][0]["theme"], theme);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenants_settings_change_and_its_console_may_call() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let origin = "https://desk.acme.example";
    let preflight = || {
        let request = world.request(Method::OPTIONS, "/v1/agents").header("origin", origin);
        world.send(request.header("access-control-request-method", "POST"))
    };
    assert_eq!(preflight().await.header("access-control-allow-origin"), "");
    let patch = json!({ "name": "Acme Ltd", "console_origins": [origin], "thread_per_assignment": true });
    let got = world.patch(&ann, "/v1/tenant", patch).await.is(200);
    assert_eq!(
        (got.body["name"].as_str(), got.body["thread_per_assignment"].as_bool()),
        (Some("Acme Ltd"), Some(true))
    );
    assert_eq!(preflight().await.header("access-control-allow-origin"), origin);
    let unknown = json!({ "default_group_id": ann.id });
    let got = world.patch(&ann, "/v1/tenant", unknown).await.problem(422, "invalid_request");
    assert_eq!(got.body["errors"][0]["pointer"], "/default_group_id");
}
