//! Accounts: what is asked for beside a password, and how a login ends.

use std::time::{Duration, Instant};

use ops::{
    client::{Phase, Stopped},
    testing::{Got, totp},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::api::{Api, PASSWORD};

/// Contract: how long a socket outlives its session.
const PROMISED: Duration = Duration::from_secs(2);
/// One of so many is within it.
const TRIES: usize = 5;
/// What a machine that builds beside it is given.
const DEADLINE: Duration = PROMISED.saturating_mul(4);

async fn login(api: &Api) -> Got {
    api.post("/v1/auth/login", json!({ "email": api.email, "password": PASSWORD })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn second_factor_recovery_codes_and_refresh_rotation() {
    let api = Api::new().await;
    let prepared = api.post("/v1/auth/mfa/totp", json!({ "password": PASSWORD })).await.is(200).body;
    let secret = prepared["secret"].as_str().unwrap();
    let [now, _] = totp(secret);
    let confirmed = api.post("/v1/auth/mfa/totp/confirm", json!({ "code": now })).await.is(200).body;
    let recovery = confirmed["recovery_codes"].as_array().unwrap();
    let complete = async |code: &Value| {
        let asked = login(&api).await.problem(401, "mfa_required").body;
        let body = json!({ "login_token": asked["data"]["login_token"], "code": code });
        api.post("/v1/auth/login/mfa", body).await
    };
    complete(&json!(now)).await.problem(401, "unauthenticated");
    let [_, next] = totp(secret);
    let session = complete(&json!(next)).await.is(200).body;
    complete(&recovery[0]).await.is(200);
    complete(&recovery[0]).await.problem(401, "unauthenticated");
    complete(&recovery[1]).await.is(200);

    let refresh = async |token: &Value| api.post("/v1/auth/refresh", json!({ "refresh_token": token })).await;
    let second = refresh(&session["refresh_token"]).await.is(200).body;
    assert_ne!(second["refresh_token"], session["refresh_token"]);
    let access = second["access_token"].as_str().unwrap();
    api.call_as(access, Method::GET, "/v1/auth/me", None).await.is(200);
    // Who comes with a used one ends them all.
    refresh(&session["refresh_token"]).await.problem(401, "unauthenticated");
    refresh(&second["refresh_token"]).await.problem(401, "unauthenticated");
    api.call_as(access, Method::GET, "/v1/auth/me", None).await.problem(401, "unauthenticated");
}

/// How long after the answer that a session is ended its socket is closed.
async fn closes_after(api: &Api) -> Duration {
    let other = login(api).await.is(200).body["access_token"].as_str().unwrap().to_owned();
    let ended = api.connect(&other, |_| ()).await;
    let sessions = api.call_as(&other, Method::GET, "/v1/auth/sessions", None).await.is(200).body;
    let current = sessions["data"].as_array().unwrap().iter().find(|one| one["current"] == true).unwrap();
    api.delete(&format!("/v1/auth/sessions/{}", current["id"].as_str().unwrap())).await.is(204);
    let answered = Instant::now();
    let mut state = ended.state();
    let stopped = state.wait_for(|state| matches!(state.phase, Phase::Stopped(_)));
    let stopped = timeout(DEADLINE, stopped).await.expect("the socket stayed open").unwrap().phase.clone();
    let Phase::Stopped(Stopped::Closed { code, .. }) = &stopped else { panic!("{stopped:?}") };
    assert_eq!(*code, 3502);
    answered.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_closes_its_socket_within_two_seconds() {
    let api = Api::new().await;
    let kept = api.connect(&api.token, |_| ()).await;
    // Until the edge knows who has just registered.
    let before = kept.counts().disconnects;
    let mut took = Vec::new();
    // A machine that does something else meanwhile takes longer now and then.
    while took.iter().all(|took| *took > PROMISED) {
        assert!(took.len() < TRIES, "promised {PROMISED:?}: {took:?}");
        took.push(closes_after(&api).await);
    }
    println!("the socket closed {took:?} after the answer (promised: {PROMISED:?})");
    assert_eq!((&kept.state().borrow().phase, kept.counts().disconnects), (&Phase::Live, before));
}
