//! Programs: API tokens, their scopes; and devices.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Got, Person, World};

async fn make(world: &World, admin: &Person, name: &str, scopes: &[&str]) -> Got {
    world.post(admin, "/v1/api-tokens", json!({ "name": name, "scopes": scopes })).await
}

async fn by(world: &World, token: &str, method: Method, path: &str, body: Value) -> Got {
    let request = world.request(method, path).bearer_auth(token);
    let request = if body.is_null() { request } else { request.json(&body) };
    world.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_scopes_say_until_it_is_deleted() {
    let world = World::alone().await;
    let (ann, mallory) = (world.register("acme").await, world.register("mallory").await);
    let made = make(&world, &ann, "CRM", &["configuration:read", "agents:read"]).await.is(201);
    let token = made.body["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("cbt_") && token.starts_with(made.body["hint"].as_str().unwrap()));
    make(&world, &ann, "crm", &["agents:read"]).await.problem(409, "already_exists");
    let get = async |path: &str| by(&world, &token, Method::GET, path, Value::Null).await;
    get("/v1/groups").await.is(200);
    assert_eq!(get("/v1/agents").await.is(200).body["data"].as_array().unwrap().len(), 1);
    get("/v1/conversations").await.problem(403, "forbidden");
    get("/v1/admin/stats").await.problem(403, "forbidden");
    let group = json!({ "name": "g" });
    by(&world, &token, Method::POST, "/v1/groups", group.clone()).await.problem(403, "forbidden");
    // What is a person's own affair is so for every scope.
    for (method, path) in [
        (Method::GET, "/v1/auth/me"),
        (Method::GET, "/v1/auth/sessions"),
        (Method::POST, "/v1/auth/logout"),
        (Method::GET, "/v1/api-tokens"),
    ] {
        by(&world, &token, method, path, Value::Null).await.problem(403, "forbidden");
    }
    // Another tenant's is absent.
    let path = made.header("location").to_owned();
    let foreign = world.get(&mallory, &path).await.problem(404, "not_found");
    assert!(!foreign.body.to_string().contains("CRM"));
    world.delete(&mallory, &path).await.problem(404, "not_found");

    world.patch(&ann, &path, json!({ "scopes": [] })).await.problem(422, "invalid_request");
    world.patch(&ann, &path, json!({ "scopes": ["root"] })).await.problem(400, "invalid_request");
    let stale = made.etag();
    let patched = world.patch(&ann, &path, json!({ "scopes": ["configuration:write"] })).await.is(200);
    let again = world.request(Method::DELETE, &path).bearer_auth(&ann.token).header("if-match", stale);
    world.send(again).await.problem(412, "precondition_failed");
    by(&world, &token, Method::POST, "/v1/groups", group).await.is(201);
    get("/v1/groups").await.problem(403, "forbidden");
    let about = world.get(&ann, &path).await.is(200);
    assert_eq!(about.etag(), patched.etag());
    assert!(about.body["last_used_at"].is_string() && about.body.get("token").is_none(), "{:#}", about.body);
    assert!(!world.get(&ann, "/v1/api-tokens").await.body.to_string().contains(&token));

    world.delete(&ann, &path).await.is(204);
    get("/v1/groups").await.problem(401, "unauthenticated");
    world.get(&ann, &path).await.problem(404, "not_found");
    let deleted = world.get(&ann, "/v1/api-tokens?deleted=true").await.is(200);
    assert_eq!(deleted.body["data"][0]["name"], "CRM");
    make(&world, &ann, "CRM", &["agents:read"]).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_worth_no_more_than_its_scopes() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let token = make(&world, &ann, "HR", &["agents:write"]).await.is(201).body["token"].clone();
    let token = token.as_str().unwrap();
    let agents = async |body: Value| by(&world, token, Method::POST, "/v1/agents", body).await;
    let bob = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    let with = |key: &str, value: &str| {
        let mut body = bob.clone();
        body[key] = json!(value);
        body
    };
    for (key, value) in [("role", "admin"), ("role", "supervisor"), ("password", "chosen by a program")] {
        agents(with(key, value)).await.problem(403, "forbidden");
    }
    let path = format!("/v1/agents/{}", agents(bob.clone()).await.is(201).id());
    let patch = async |role: &str| by(&world, token, Method::PATCH, &path, json!({ "role": role })).await;
    patch("admin").await.problem(403, "forbidden");
    patch("supervisor").await.problem(403, "forbidden");
    patch("agent").await.is(200);
    // Who was an admin and is gone does not bring themselves back with the token they left behind.
    let eve = world.agent(&ann, "eve", "admin").await;
    world.delete(&ann, &format!("/v1/agents/{}", eve.id)).await.is(204);
    let restore = format!("/v1/agents/{}/restore", eve.id);
    by(&world, token, Method::POST, &restore, Value::Null).await.problem(403, "forbidden");
    assert_eq!(world.get(&ann, "/v1/agents").await.body["data"].as_array().unwrap().len(), 2);
}

/// Whoever has the key of identity tokens is any customer, with their conversations.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_becomes_no_customer() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let token = make(&world, &ann, "Site", &["configuration:write"]).await.is(201).body["token"].clone();
    let token = token.as_str().unwrap();
    let widgets = async |body: Value| by(&world, token, Method::POST, "/v1/widgets", body).await;
    let with = json!({ "name": "x", "identity": { "algorithm": "HS256" } });
    widgets(with.clone()).await.problem(403, "forbidden");
    let made = widgets(json!({ "name": "Site" })).await.is(201).id();
    let path = format!("/v1/widgets/{made}");
    let patch = async |body: Value| by(&world, token, Method::PATCH, &path, body).await;
    for identity in [with["identity"].clone(), Value::Null] {
        patch(json!({ "name": "Shop", "identity": identity })).await.problem(403, "forbidden");
    }
    world.patch(&ann, &path, json!({ "identity": with["identity"] })).await.is(200);
    let rotate = format!("{path}/rotate-identity-secret");
    by(&world, token, Method::POST, &rotate, Value::Null).await.problem(403, "forbidden");
    assert_eq!(patch(json!({ "greeting": "Hello!" })).await.is(200).body["name"], "Site");
}

/// What is forgotten does not come back: people say what is.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_forgets_nothing() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let scopes = ["configuration:write", "conversations:write"];
    let token = make(&world, &ann, "CRM", &scopes).await.is(201).body["token"].clone();
    let token = token.as_str().unwrap();
    let patch = async |body: Value| by(&world, token, Method::PATCH, "/v1/tenant", body).await;
    patch(json!({ "name": "Acme" })).await.is(200);
    for days in [json!(1), Value::Null] {
        let retention = json!({ "name": "x", "retention": { "forget_after_days": days } });
        patch(retention).await.problem(403, "forbidden");
    }
    assert_eq!(world.get(&ann, "/v1/tenant").await.is(200).body["name"], "Acme", "nothing of it was done");
    let event = format!("/v1/events/{}?purge=true", uuid::Uuid::new_v4());
    by(&world, token, Method::DELETE, &event, Value::Null).await.problem(403, "forbidden");
    let visitor = format!("/v1/visitors/{}", uuid::Uuid::new_v4());
    by(&world, token, Method::DELETE, &visitor, Value::Null).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_says() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let past = json!({ "name": "x", "scopes": ["agents:read"], "expires_at": "2020-01-01T00:00:00.000Z" });
    let got = world.post(&ann, "/v1/api-tokens", past).await.problem(422, "invalid_request");
    assert_eq!(got.body["errors"][0]["pointer"], "/expires_at");
    let made = make(&world, &ann, "x", &["agents:read"]).await.is(201);
    let token = made.body["token"].as_str().unwrap().to_owned();
    by(&world, &token, Method::GET, "/v1/agents", Value::Null).await.is(200);
    let ends = "UPDATE config.api_tokens SET expires_at = now() - interval '1 second'";
    world.postgres().await.execute(ends, &[]).await.unwrap();
    by(&world, &token, Method::GET, "/v1/agents", Value::Null).await.problem(401, "unauthenticated");
    for bad in ["cbt_", "cbt_x", &token[..token.len() - 1], &format!("{token}x"), &"cbt_x".repeat(1000)] {
        by(&world, bad, Method::GET, "/v1/agents", Value::Null).await.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_their_owners_alone() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "admin").await;
    let device = json!({ "platform": "ios", "token": "abc", "name": "Phone" });
    let first = world.post(&ann, "/v1/auth/me/devices", device.clone()).await.is(201).id();
    let again = world.post(&ann, "/v1/auth/me/devices", device.clone()).await.is(201).id();
    assert_eq!(first, again, "the same device is no second");
    world.post(&bob, "/v1/auth/me/devices", device).await.is(201);
    let mine = world.get(&ann, "/v1/auth/me/devices").await.is(200);
    assert_eq!(mine.body["data"].as_array().unwrap().len(), 1);
    assert!(!mine.body.to_string().contains("abc"));
    let path = format!("/v1/auth/me/devices/{first}");
    world.delete(&bob, &path).await.problem(404, "not_found");
    world.delete(&ann, &path).await.is(204);
    world.delete(&ann, &path).await.problem(404, "not_found");
    let bad = json!({ "platform": "fax", "token": "abc" });
    world.post(&ann, "/v1/auth/me/devices", bad).await.problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_more_than_twenty_devices_however_fast_they_come() {
    const MORE: usize = 3;
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let add = async |n: usize| {
        let device = json!({ "platform": "web", "token": format!("t{n}") });
        world.post(&ann, "/v1/auth/me/devices", device).await
    };
    for n in 0..20 - MORE {
        add(n).await.is(201);
    }
    // All have counted before any may add: those who do not wait for each other all find room.
    let mut postgres = world.postgres().await;
    let slow = postgres.transaction().await.unwrap();
    slow.batch_execute("LOCK TABLE config.devices IN SHARE MODE").await.unwrap();
    let all = join_all((20 - MORE..20 + MORE).map(add));
    let (all, ()) = tokio::join!(all, async {
        world.so_many_wait_for_a_lock(2 * MORE).await;
        slow.rollback().await.unwrap();
    });
    let (room, refused): (Vec<Got>, Vec<Got>) = all.into_iter().partition(|got| got.status == 201);
    assert_eq!((room.len(), refused.len()), (MORE, MORE));
    refused.into_iter().for_each(|got| drop(got.problem(409, "conflict")));
    let listed = world.get(&ann, "/v1/auth/me/devices").await.is(200);
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 20);
    // One that is there is no other.
    add(0).await.is(201);
}
