//! Agents: made, changed, deleted, restored.

use serde_json::json;

use crate::world::{PASSWORD, World};

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_made_changed_deleted_and_restored() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let group = world.post(&ann, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let new = json!({
        "email": "bob@acme.example", "name": "Bob", "role": "agent", "password": PASSWORD,
        "group_ids": [group], "skills": ["billing"], "job_title": "Helper",
    });
    let made = world.post(&ann, "/v1/agents", new.clone()).await.is(201);
    let (id, path) = (made.id(), made.header("location").to_owned());
    assert_eq!(path, format!("/v1/agents/{id}"));
    assert_eq!((made.body["capacity"].as_i64(), &made.body["group_ids"]), (Some(5), &json!([group])));
    world.post(&ann, "/v1/agents", new.clone()).await.problem(409, "already_exists");

    let bob = world.login("bob@acme.example").await;
    let stale = made.etag();
    let patched = world.patch(&ann, &path, json!({ "capacity": 7, "job_title": null })).await.is(200);
    assert_eq!((patched.body["capacity"].as_i64(), &patched.body["job_title"]), (Some(7), &json!(null)));
    let request =
        world.request(reqwest::Method::PATCH, &path).bearer_auth(&ann.token).header("if-match", &stale);
    world.send(request.json(&json!({ "capacity": 8 }))).await.problem(412, "precondition_failed");
    let request = world
        .request(reqwest::Method::PATCH, &path)
        .bearer_auth(&ann.token)
        .header("if-match", patched.etag());
    world.send(request.json(&json!({ "capacity": 8 }))).await.is(200);

    world.delete(&ann, &path).await.is(204);
    world.get(&bob, "/v1/auth/me").await.problem(401, "unauthenticated");
    world.get(&ann, &path).await.problem(404, "not_found");
    world.delete(&ann, &path).await.problem(404, "not_found");
    let deleted = world.get(&ann, "/v1/agents?deleted=true").await.is(200);
    assert_eq!(deleted.body["data"][0]["id"], id.as_str());
    let members = world.get(&ann, &format!("/v1/groups/{group}")).await.is(200);
    assert_eq!(members.body["members"], json!([]));

    world.post(&ann, &format!("{path}/restore"), json!(null)).await.is(200);
    let members = world.get(&ann, &format!("/v1/groups/{group}")).await.is(200);
    assert_eq!(members.body["members"][0]["agent_id"], id.as_str());
    world.login("bob@acme.example").await;
    world.post(&ann, &format!("{path}/restore"), json!(null)).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_agents_place_is_free_again() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let new = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    let first = world.post(&ann, "/v1/agents", new.clone()).await.is(201).id();
    world.delete(&ann, &format!("/v1/agents/{first}")).await.is(204);
    let second = world.post(&ann, "/v1/agents", new).await.is(201).id();
    assert_ne!(first, second);
    let restore = format!("/v1/agents/{first}/restore");
    world.post(&ann, &restore, json!(null)).await.problem(409, "already_exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_for_who_comes_back_is_refused_and_not_dropped() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "agent").await;
    world.delete(&ann, &format!("/v1/agents/{}", bob.id)).await.is(204);
    let mut again =
        json!({ "email": bob.email, "name": "Bob", "role": "agent", "password": "another than his" });
    let refused = world.post(&ann, "/v1/agents", again.clone()).await.problem(409, "already_exists");
    assert_eq!(refused.body["errors"][0]["pointer"], "/email");
    again.as_object_mut().unwrap().remove("password");
    world.post(&ann, "/v1/agents", again).await.is(201);
    world.login(&bob.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let path = format!("/v1/agents/{}", ann.id);
    world.delete(&ann, &path).await.problem(409, "conflict");
    world.patch(&ann, &path, json!({ "role": "agent" })).await.problem(409, "conflict");
    let eve = world.agent(&ann, "eve", "admin").await;
    world.patch(&eve, &path, json!({ "role": "agent" })).await.is(200);
    // The old role's tokens count no longer.
    world.get(&ann, "/v1/auth/me").await.problem(401, "unauthenticated");
    let ann = world.login(&ann.email).await;
    world.post(&ann, "/v1/groups", json!({ "name": "x" })).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_through_everything_once() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    for n in 0..7 {
        let new = json!({ "email": format!("{n}@acme.example"), "name": format!("n{n}"), "role": "agent" });
        world.post(&ann, "/v1/agents", new).await.is(201);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&ann, &format!("/v1/agents?limit=3{cursor}")).await.is(200);
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        seen.extend(data.iter().map(|agent| agent["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!((seen.len(), once.len()), (8, 8));
}

/// `tenant-walls`: whoever made an account first must not get into the tenants that name its address later.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_tenant_cannot_be_added() {
    let world = World::alone().await;
    let mallory = world.register("mallory").await;
    let ann = world.register("acme").await;
    let new = |password: &str| json!({ "email": "ceo@acme.example", "name": "CEO", "role": "admin", "password": password });
    world.post(&mallory, "/v1/agents", new("known to mallory only")).await.is(201);
    let refused = world.post(&ann, "/v1/agents", new("chosen by ann")).await.problem(409, "already_exists");
    assert_eq!(refused.body["errors"][0]["pointer"], "/email");
    let agents = world.get(&ann, "/v1/agents").await.is(200);
    assert_eq!(agents.body["data"].as_array().unwrap().len(), 1, "only Ann herself");
}
