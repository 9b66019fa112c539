//! Logins that are over.

use std::time::Duration;

use ops::{
    client::{Http, Tokens},
    testing::wait_for,
};

use reqwest::Method;
use serde_json::json;

use crate::world::{PASSWORD, World};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_renews_its_tokens_stays_in_one_session() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let tokens = Tokens::staff(Http::new().unwrap(), &world.url, &ann.email, PASSWORD);
    for fresh in [false, true, true] {
        let token = tokens.get(fresh).await.unwrap();
        let who = world.request(Method::GET, "/v1/auth/me").bearer_auth(token);
        world.send(who).await.is(200);
    }
    let listed = world.get(&ann, "/v1/auth/sessions").await.is(200);
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 2, "of the registration, and the client's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_not_listed_and_is_removed_in_the_end() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    world.login(&ann.email).await;
    let listed = async || {
        let got = world.get(&ann, "/v1/auth/sessions").await.is(200);
        got.body["data"].as_array().unwrap().iter().map(|one| one["current"] == true).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [true, false]);
    let postgres = world.postgres().await;
    let newest = "(SELECT id FROM config.sessions ORDER BY created_at DESC, id DESC LIMIT 1)";
    let ended = async |ago: &str| {
        let sql =
            format!("UPDATE config.sessions SET expires_at = now() - interval '{ago}' WHERE id = {newest}");
        assert_eq!(postgres.execute(&sql, &[]).await.unwrap(), 1);
    };
    let rows = async || {
        let count = "SELECT count(*) FROM config.sessions";
        postgres.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    ended("1 second").await;
    assert_eq!(listed().await, [true]);
    assert_eq!(rows().await, 2, "what was is known for a while");
    ended("1 year").await;
    // Of the one in use, what was exchanged long ago goes, and what was exchanged lately ends it if it comes again.
    let refresh = async |token: &str| {
        let request =
            world.request(Method::POST, "/v1/auth/refresh").json(&json!({ "refresh_token": token }));
        world.send(request).await
    };
    let second = refresh(&ann.refresh_token).await.is(200).body["refresh_token"].clone();
    let long_ago =
        "UPDATE config.refresh_tokens SET used_at = now() - interval '31 days' WHERE used_at IS NOT NULL";
    assert_eq!(postgres.execute(long_ago, &[]).await.unwrap(), 1);
    let third = refresh(second.as_str().unwrap()).await.is(200).body["refresh_token"].clone();
    let used = async || {
        let count = "SELECT count(*) FROM config.refresh_tokens WHERE used_at IS NOT NULL";
        postgres.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(used().await, 2);
    // Another instance tidies as soon as it starts.
    let _beside = World::beside(&world).await;
    wait_for(SOON, "the expired one to be removed", async || rows().await == 1 && used().await == 1).await;
    assert_eq!(listed().await, [true], "the one in use stays");
    refresh(&ann.refresh_token).await.problem(401, "unauthenticated");
    assert_eq!(listed().await, [true], "what is too old to be known harms nobody");
    refresh(second.as_str().unwrap()).await.problem(401, "unauthenticated");
    refresh(third.as_str().unwrap()).await.problem(401, "unauthenticated");
    world.get(&ann, "/v1/auth/me").await.problem(401, "unauthenticated");
}
