//! Who is kept out: pages that nobody listed, and those who ask too often.

use bus_schema::ErrorCode;
use ops::{
    client::new_visitor_key,
    testing::{Got, wait_for},
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::api::{Api, PASSWORD, SOON};

fn origin() -> String {
    format!("https://{}.example", Uuid::now_v7().simple())
}

const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_consoles_and_of_a_widgets_sites_may_call_and_no_others() {
    let api = Api::new().await;
    let (console, site, other, stranger) = (origin(), origin(), origin(), origin());
    let of_admin = async |method: Method, page: &str| {
        let asks = api.http.request(method, format!("{}/v1/auth/me", api.admin_url)).bearer_auth(&api.token);
        api.send(asks.header("origin", page).header("access-control-request-method", "PATCH")).await
    };
    assert_eq!(of_admin(Method::GET, &console).await.header(ALLOWED), "");
    api.patch("/v1/tenant", json!({ "console_origins": [console] })).await.is(200);
    wait_for(SOON, "the console to be allowed", async || {
        let got = of_admin(Method::GET, &console).await;
        if got.header(ALLOWED) == console { Ok(()) } else { Err(format!("{:?}", got.headers)) }
    })
    .await;
    let before = of_admin(Method::OPTIONS, &console).await.is(200);
    assert!(before.header("access-control-allow-methods").contains("PATCH"), "{:?}", before.headers);
    for method in [Method::GET, Method::OPTIONS] {
        assert_eq!(of_admin(method, &stranger).await.header(ALLOWED), "");
    }

    let widget = async |name: &str, page: &str| {
        let new = json!({ "name": name, "allowed_origins": [page] });
        api.post("/v1/widgets", new).await.is(201).body["key"].as_str().unwrap().to_owned()
    };
    let (own, _) = (widget("Site", &site).await, widget("Other", &other).await);
    let session = json!({ "widget_key": own, "visitor_key": new_visitor_key(), "initial_message": "hello" });
    let begin = async |page: &str| {
        let asks = api.http.post(format!("{}/v1/widget/session", api.edge_url)).json(&session);
        api.send(asks.header("origin", page)).await
    };
    let begun = wait_for(SOON, "the edge to know the widget", async || {
        let got = begin(&site).await;
        if got.status == 200 { Ok(got) } else { Err(got.body.to_string()) }
    })
    .await;
    assert_eq!(begun.header(ALLOWED), site);
    let refused = begin(&stranger).await.problem(403, "origin_not_allowed");
    assert_eq!(refused.header(ALLOWED), "");
    // Listed, but not by this widget; nor is the token's holder there.
    wait_for(SOON, "the edge to know the other site", async || {
        let got = begin(&other).await.problem(403, "origin_not_allowed");
        if got.header(ALLOWED) == other { Ok(()) } else { Err(format!("{:?}", got.headers)) }
    })
    .await;
    let path = format!("/v1/conversations/{}", begun.body["conversation"]["id"].as_str().unwrap());
    let read = async |token: &str, page: &str| {
        let asks = api.http.get(format!("{}{path}", api.edge_url)).bearer_auth(token);
        api.send(asks.header("origin", page)).await
    };
    let token = begun.body["token"].as_str().unwrap();
    assert_eq!(read(token, &site).await.is(200).header(ALLOWED), site);
    read(token, &other).await.problem(403, "origin_not_allowed");
    read(token, &console).await.problem(403, "origin_not_allowed");
    // Staff call the edge from their console, and from no site.
    assert_eq!(read(&api.token, &console).await.is(200).header(ALLOWED), console);
    read(&api.token, &site).await.problem(403, "origin_not_allowed");
}

/// Asks again and again until it is too often: at once, or after so many times that were answered otherwise.
async fn until_limited(most: usize, mut ask: impl AsyncFnMut() -> Got) {
    for _ in 0..most {
        let got = ask().await;
        if got.status != 429 {
            continue;
        }
        let got = got.problem(429, ErrorCode::RateLimited.name());
        let after: u64 = got.header("retry-after").parse().expect("Retry-After in seconds");
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!((&got.body["retryable"], &got.body["status"]), (&json!(true), &json!(429)));
        return;
    }
    panic!("{most} times were not too often");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let api = Api::new().await;
    // Passwords of one account, from wherever: ten a minute.
    let login = |email: &str, password: &str| json!({ "email": email, "password": password });
    until_limited(20, async || api.post("/v1/auth/login", login(&api.email, "not the password")).await).await;
    api.post("/v1/auth/login", login(&api.email, PASSWORD)).await.problem(429, "rate_limited");
    // Others are not held up: this one is made, and logs in.
    api.agent("bob", &[]).await;

    // Files of one person: thirty a minute, whatever becomes of them.
    let widget = api.widget(None).await;
    let (visit, other) = (api.visit(&widget, "hello").await, api.visit(&widget, "hi").await);
    until_limited(60, async || api.upload(&visit.token, &visit.conversation, "x.txt", "").await).await;
    api.upload(&other.token, &other.conversation, "x.txt", "x").await.is(201);
}
