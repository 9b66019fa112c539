//! Tokens that must not count.

use std::path::Path;

use ops::auth::{SigningKey, forged};
use reqwest::Method;
use serde_json::Value;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_says_about_itself_lets_nobody_in() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let key = SigningKey::load(Path::new(&world.key_file)).unwrap();
    let with = async |authorization: &str| {
        let request = world.request(Method::GET, "/v1/auth/me").header("authorization", authorization);
        world.send(request).await
    };
    with(&format!("Bearer {}", ann.token)).await.is(200);
    let cases = forged(&key, &ann.token);
    assert!(cases.len() > 60, "{}", cases.len());
    let mut answers = std::collections::BTreeSet::new();
    for case in cases {
        let got = with(&format!("Bearer {}", case.token)).await;
        assert_eq!(got.status.as_u16(), 401, "{}: {:#}", case.name, got.body);
        let mut got = got.problem(401, "unauthenticated");
        assert_eq!(got.header("www-authenticate"), "Bearer", "{}", case.name);
        got.body["request_id"] = Value::Null;
        answers.insert(got.body.to_string());
    }
    assert_eq!(answers.len(), 1, "which check refused is nobody's business");
    // Other secrets are no access tokens, and the scheme counts.
    for wrong in [
        format!("Bearer {}", ann.refresh_token),
        format!("Basic {}", ann.token),
        format!("Bearer  {} x", ann.token),
        ann.token.clone(),
        "Bearer".to_owned(),
    ] {
        with(&wrong).await.problem(401, "unauthenticated");
    }
    // Nor is a token anything in a URL.
    let in_url = world.request(Method::GET, &format!("/v1/auth/me?access_token={}", ann.token));
    world.send(in_url).await.problem(401, "unauthenticated");
}
