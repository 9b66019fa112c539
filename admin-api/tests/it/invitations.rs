//! Agents without a password are invited.

use serde_json::{Value, json};

use crate::{
    passwords::with_mail,
    world::{PASSWORD, World},
};

const OTHER: &str = "somebody else chose this";

async fn login(world: &World, email: &str, password: &str) -> crate::world::Got {
    world.public("/v1/auth/login", json!({ "email": email, "password": password })).await
}

async fn accept(world: &World, token: &str, password: &str) -> crate::world::Got {
    world.public("/v1/auth/invitation", json!({ "token": token, "password": password })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_agent_chooses_a_password_and_works() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let new = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    let made = world.post(&ann, "/v1/agents", new).await.is(201);
    assert!(made.body["invited_at"].is_string());
    let first = mailbox.nth("bob@acme.example", 0).await;
    assert!(first.text.contains("acme"));
    world.post(&ann, &format!("/v1/agents/{}/invitation", made.id()), json!(null)).await.is(204);
    let token = mailbox.nth("bob@acme.example", 1).await.token();
    accept(&world, &first.token(), PASSWORD).await.problem(422, "invalid_request");
    accept(&world, &token, "short").await.problem(422, "invalid_request");
    // A link for one thing is none for another.
    let reset = json!({ "token": token, "password": PASSWORD });
    world.public("/v1/auth/password/reset", reset).await.problem(422, "invalid_request");
    accept(&world, &token, PASSWORD).await.is(204);
    accept(&world, &token, PASSWORD).await.problem(422, "invalid_request");
    let bob = world.login("bob@acme.example").await;
    let me = world.get(&bob, "/v1/auth/me").await.is(200);
    assert_eq!((&me.body["agent"]["id"], &me.body["agent"]["invited_at"]), (&json!(made.id()), &Value::Null));
    let again = format!("/v1/agents/{}/invitation", made.id());
    world.post(&ann, &again, json!(null)).await.problem(409, "conflict");
    world.post(&bob, &again, json!(null)).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_tenant_comes_by_its_own_will_alone() {
    let (world, mailbox) = with_mail().await;
    let (ann, carl) = (world.register("acme").await, world.register("carls").await);
    let new = json!({ "email": carl.email, "name": "Carl", "role": "admin" });
    let mut chosen = new.clone();
    chosen["password"] = json!(OTHER);
    world.post(&ann, "/v1/agents", chosen).await.problem(409, "already_exists");
    let id = world.post(&ann, "/v1/agents", new.clone()).await.is(201).id();
    // Knowing the password alone is not enough, also after the invitation was made anew.
    assert_eq!(login(&world, &carl.email, PASSWORD).await.is(200).body["tenant"]["name"], "carls");
    world.delete(&ann, &format!("/v1/agents/{id}")).await.is(204);
    world.post(&ann, "/v1/agents", new).await.is(201);
    assert_eq!(login(&world, &carl.email, PASSWORD).await.is(200).body["tenant"]["name"], "carls");
    // Reading the mail alone is not, either.
    let token = mailbox.nth(&carl.email, 1).await.token();
    let wrong = accept(&world, &token, OTHER).await.problem(422, "invalid_request");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/password");
    accept(&world, &token, PASSWORD).await.is(204);
    let choice = login(&world, &carl.email, PASSWORD).await.problem(401, "tenant_required");
    assert_eq!(choice.body["data"]["tenants"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_mailbox_is_filled_by_making_them_an_agent_again_and_again() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let new = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    for nth in 0..5 {
        let id = world.post(&ann, "/v1/agents", new.clone()).await.is(201).id();
        mailbox.nth("bob@acme.example", nth).await;
        world.delete(&ann, &format!("/v1/agents/{id}")).await.is(204);
    }
    world.post(&ann, "/v1/agents", new).await.problem(429, "rate_limited");
    // Nobody was made, either.
    let agents = world.get(&ann, "/v1/agents").await.is(200);
    assert_eq!(agents.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays_until_another_has_accepted() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let own = format!("/v1/agents/{}", ann.id);
    let new = json!({ "email": "bob@acme.example", "name": "Bob", "role": "admin" });
    world.post(&ann, "/v1/agents", new).await.is(201);
    world.patch(&ann, &own, json!({ "role": "agent" })).await.problem(409, "conflict");
    world.delete(&ann, &own).await.problem(409, "conflict");
    accept(&world, &mailbox.nth("bob@acme.example", 0).await.token(), PASSWORD).await.is(204);
    world.patch(&ann, &own, json!({ "role": "agent" })).await.is(200);
}
