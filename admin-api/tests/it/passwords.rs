//! Changing, forgetting and resetting passwords.

use ops::{settings::names, testing::wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mailbox::Mailbox,
    world::{PASSWORD, Person, World},
};

const NEW: &str = "a quite different one";
const SOON: std::time::Duration = std::time::Duration::from_secs(20);

pub async fn with_mail() -> (World, Mailbox) {
    let port = ops::dev::ports::free().unwrap();
    let mailbox = Mailbox::open().await;
    let smtp = (names::SMTP_URL, mailbox.url.as_str());
    (World::with(format!("nats://127.0.0.1:{port}"), &[smtp]).await, mailbox)
}

async fn login(world: &World, email: &str, password: &str) -> crate::world::Got {
    world.public("/v1/auth/login", json!({ "email": email, "password": password })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_all_other_sessions_in_every_tenant() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let second = json!({ "tenant_name": "other", "name": "Ann", "email": ann.email, "password": PASSWORD });
    let second = Person::of(&ann.email, &world.public("/v1/auth/register", second).await.is(201));
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        world.send(world.request(Method::POST, "/v1/auth/password").bearer_auth(&ann.token).json(&body))
    };
    let wrong = change("wrong password", NEW).await.problem(422, "invalid_request");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/current_password");
    change(PASSWORD, "short").await.problem(422, "invalid_request");
    change(PASSWORD, PASSWORD).await.problem(422, "invalid_request");
    world.get(&second, "/v1/auth/me").await.is(200);

    change(PASSWORD, NEW).await.is(204);
    world.get(&ann, "/v1/auth/me").await.is(200);
    world.get(&second, "/v1/auth/me").await.problem(401, "unauthenticated");
    let refresh = json!({ "refresh_token": second.refresh_token });
    world.public("/v1/auth/refresh", refresh).await.problem(401, "unauthenticated");
    login(&world, &ann.email, PASSWORD).await.problem(401, "unauthenticated");
    login(&world, &ann.email, NEW).await.problem(401, "tenant_required");
    assert!(!mailbox.nth(&ann.email, 0).await.text.contains("#token="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_while_it_is_verified_lets_nobody_in() {
    let (world, _mailbox) = with_mail().await;
    for (name, way) in [("acme", "login"), ("umbrella", "register")] {
        let ann = world.register(name).await;
        let mut changing = world.postgres().await;
        let change = changing.transaction().await.unwrap();
        let update = "UPDATE config.accounts SET password_hash = 'another' WHERE email = $1";
        assert_eq!(change.execute(update, &[&ann.email]).await.unwrap(), 1);
        // The old one still counts for who reads now.
        let mut body = json!({ "email": ann.email, "password": PASSWORD });
        if way == "register" {
            body["tenant_name"] = json!("other");
            body["name"] = json!("Ann");
        }
        let path = format!("/v1/auth/{way}");
        let late = world.public(&path, body);
        let change = async {
            world.somebody_waits_for_a_lock().await;
            change.commit().await.unwrap();
        };
        tokio::join!(late, change).0.problem(401, "unauthenticated");
    }
    let tenants = "SELECT count(*) FROM config.tenants";
    assert_eq!(world.postgres().await.query_one(tenants, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_mail_gives_a_new_password_once() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let forgot =
        async |email: &str| world.public("/v1/auth/password/forgot", json!({ "email": email })).await;
    let reset = async |token: &str, password: &str| {
        world.public("/v1/auth/password/reset", json!({ "token": token, "password": password })).await
    };
    // To the address that the account has, however it was typed.
    forgot("ADMIN@acme.example").await.is(204);
    let old = mailbox.nth(&ann.email, 0).await.token();
    assert!(mailbox.to("ADMIN@acme.example").is_empty());
    forgot(&ann.email).await.is(204);
    let token = mailbox.nth(&ann.email, 1).await.token();
    for bad in [old.as_str(), "", "cbm_x", &token[..token.len() - 1], &ann.refresh_token] {
        let got = reset(bad, NEW).await.problem(422, "invalid_request");
        assert_eq!(got.body["errors"][0]["pointer"], "/token", "{bad}");
    }
    reset(&token, "short").await.problem(422, "invalid_request");
    let both = futures::future::join_all((0..4).map(|_| reset(&token, NEW))).await;
    assert_eq!(both.iter().filter(|got| got.status == 204).count(), 1, "a link counts once");
    world.get(&ann, "/v1/auth/me").await.problem(401, "unauthenticated");
    login(&world, &ann.email, PASSWORD).await.problem(401, "unauthenticated");
    login(&world, &ann.email, NEW).await.is(200);
    assert!(mailbox.nth(&ann.email, 2).await.text.contains("changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_account_gets_the_same_answer_and_no_mail() {
    let (world, mailbox) = with_mail().await;
    let ann = world.register("acme").await;
    let forgot = async |email: &str| {
        let mut got = world.public("/v1/auth/password/forgot", json!({ "email": email })).await;
        got.headers.remove("x-request-id");
        got.headers.remove("date");
        (got.status, got.headers, got.body)
    };
    assert_eq!(forgot("nobody@acme.example").await, forgot(&ann.email).await);
    mailbox.nth(&ann.email, 0).await;
    wait_for(SOON, "the queue to be empty", async || {
        let left = "SELECT count(*) FROM config.mails";
        world.postgres().await.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert!(mailbox.to("nobody@acme.example").is_empty());
    // Nobody's mailbox is filled.
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(forgot("nobody@acme.example").await.2["code"].clone());
    }
    assert_eq!(codes.last(), Some(&Value::from("rate_limited")));
}
