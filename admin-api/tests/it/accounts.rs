//! Registering, logging in, refreshing, logging out.

use std::time::{Duration, Instant};

use ops::testing::wait_for;
use reqwest::Method;
use serde_json::json;

use crate::world::{Got, PASSWORD, Person, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tenants_admin_logs_in_and_out() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let me = world.get(&ann, "/v1/auth/me").await.is(200);
    assert_eq!(me.body["agent"]["role"], "admin");
    assert_eq!(
        (me.body["agent"]["capacity"].as_i64(), me.body["tenant"]["name"].as_str()),
        (Some(10), Some("acme"))
    );

    let again = world.login("ADMIN@acme.example").await;
    assert_eq!((again.id.as_str(), again.tenant.as_str()), (ann.id.as_str(), ann.tenant.as_str()));
    let validated = world.post(&again, "/v1/auth/validate", json!(null)).await.is(200);
    assert_eq!(validated.body["agent_id"], ann.id.as_str());
    let sessions = world.get(&again, "/v1/auth/sessions").await.is(200);
    assert_eq!(sessions.body["data"].as_array().unwrap().len(), 2);

    world.post(&again, "/v1/auth/logout", json!(null)).await.is(204);
    world.get(&again, "/v1/auth/me").await.problem(401, "unauthenticated");
    let refresh = json!({ "refresh_token": again.refresh_token });
    let refresh = world.request(Method::POST, "/v1/auth/refresh").json(&refresh);
    world.send(refresh).await.problem(401, "unauthenticated");
    world.get(&ann, "/v1/auth/me").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_accounts_and_wrong_passwords_are_answered_alike() {
    let world = World::alone().await;
    world.register("acme").await;
    let mut answers = Vec::new();
    for (email, password) in [("admin@acme.example", "wrong password"), ("nobody@acme.example", PASSWORD)] {
        let body = json!({ "email": email, "password": password });
        let got = world.send(world.request(Method::POST, "/v1/auth/login").json(&body)).await;
        let mut got = got.problem(401, "unauthenticated");
        got.body["request_id"] = json!(null);
        answers.push(got.body);
    }
    assert_eq!(answers[0], answers[1]);
    let taken = json!({ "tenant_name": "x", "name": "x", "email": "admin@acme.example", "password": "wrong password" });
    let got = world.send(world.request(Method::POST, "/v1/auth/register").json(&taken)).await;
    assert_eq!(got.problem(409, "already_exists").body["errors"][0]["pointer"], "/email");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_accounts_and_wrong_passwords_take_alike() {
    /// Tries of each kind; of an account fewer than its budget.
    const TRIES: usize = 27;
    const OF_ACCOUNT: usize = 9;
    let world = World::alone().await;
    for n in 0..TRIES / OF_ACCOUNT {
        world.register(&format!("acme-{n}")).await;
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..TRIES {
        // One after the other: what slows the machine down slows both.
        for (name, took) in [("admin", &mut known), ("nobody", &mut unknown)] {
            let email = format!("{name}@acme-{}.example", n / OF_ACCOUNT);
            let body = json!({ "email": email, "password": "wrong password" });
            let began = Instant::now();
            world.public("/v1/auth/login", body).await.problem(401, "unauthenticated");
            took.push(began.elapsed());
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort();
        took[TRIES / 2]
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    println!("a wrong password takes {known:?} where there is an account, {unknown:?} where there is none");
    // A hash takes many times what the rest of a login does.
    assert!(known < unknown * 2 && unknown < known * 2, "{known:?} and {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_in_two_tenants_chooses() {
    let world = World::alone().await;
    let first = world.register("acme").await;
    let second = json!({ "tenant_name": "other", "name": "Ann", "email": first.email, "password": PASSWORD });
    let second = world.send(world.request(Method::POST, "/v1/auth/register").json(&second)).await.is(201);
    let login = |body| world.send(world.request(Method::POST, "/v1/auth/login").json(&body).header("x", "y"));
    let choice =
        login(json!({ "email": first.email, "password": PASSWORD })).await.problem(401, "tenant_required");
    assert_eq!(choice.body["data"]["tenants"].as_array().unwrap().len(), 2);
    login(json!({ "email": first.email, "password": "wrong password" }))
        .await
        .problem(401, "unauthenticated");
    let tenant = second.body["tenant"]["id"].clone();
    let got = login(json!({ "email": first.email, "password": PASSWORD, "tenant_id": tenant })).await.is(200);
    assert_eq!(got.body["tenant"]["name"], "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_counts_once_and_its_reuse_ends_the_family() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let refresh = |token: String| {
        world.send(world.request(Method::POST, "/v1/auth/refresh").json(&json!({ "refresh_token": token })))
    };
    let next = refresh(ann.refresh_token.clone()).await.is(200);
    let token = next.body["refresh_token"].as_str().unwrap().to_owned();
    let next = refresh(token).await.is(200);
    world.get(&ann, "/v1/auth/me").await.is(200);

    refresh(ann.refresh_token.clone()).await.problem(401, "unauthenticated");
    let newest = next.body["refresh_token"].as_str().unwrap().to_owned();
    refresh(newest).await.problem(401, "unauthenticated");
    world.get(&ann, "/v1/auth/me").await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_refreshes_at_once_one_succeeds() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let body = json!({ "refresh_token": ann.refresh_token });
    let requests = (0..50).map(|_| world.send(world.request(Method::POST, "/v1/auth/refresh").json(&body)));
    let answers = futures::future::join_all(requests).await;
    let won = answers.iter().filter(|got| got.status == 200).count();
    assert_eq!(won, 1);
    assert!(answers.iter().all(|got| got.status == 200 || got.status == 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_run_out_of_tries() {
    let port = ops::dev::ports::free().unwrap();
    let limit = (ops::settings::names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, "3");
    let world = World::with(format!("nats://127.0.0.1:{port}"), &[limit]).await;
    let login = |n: usize| {
        let body = json!({ "email": format!("{n}@acme.example"), "password": "wrong password" });
        world.send(
            world
                .request(Method::POST, "/v1/auth/login")
                .json(&body)
                .header("x-forwarded-for", n.to_string()),
        )
    };
    for n in 0..3 {
        login(n).await.problem(401, "unauthenticated");
    }
    let limited = login(3).await.problem(429, "rate_limited");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_runs_out_of_tries_from_wherever_they_come() {
    /// Twice what an account has in a minute.
    const TRIES: usize = 20;
    let world = World::alone().await;
    let (ann, bob) = (world.register("acme").await, world.register("other").await);
    let login = |n: usize, password: &str| {
        let email = if n.is_multiple_of(2) { ann.email.clone() } else { ann.email.to_uppercase() };
        let body = json!({ "email": email, "password": password });
        let request = world.request(Method::POST, "/v1/auth/login").json(&body);
        world.send(request.header("x-forwarded-for", format!("192.0.2.{n}")))
    };
    let guesses = || futures::future::join_all((0..TRIES).map(|n| login(n, "wrong password")));
    let first = guesses().await;
    let verified = first.iter().filter(|got| got.status == 401).count();
    // Of ten a minute one was spent on registering.
    assert!((9..TRIES).contains(&verified), "{verified} of {TRIES} were verified");
    // They come back while they are made: until none is left for who knows the password.
    let refused = wait_for(SOON, "the right password to be refused as well", async || {
        guesses().await;
        let got = login(0, PASSWORD).await;
        if got.status == 429 { Ok(got) } else { Err(got.status.to_string()) }
    })
    .await;
    assert!(refused.problem(429, "rate_limited").header("retry-after").parse::<u64>().unwrap() >= 1);
    world.login(&bob.email).await;
}

const SOON: Duration = Duration::from_secs(20);

/// Asks until it is too often, so many at a time; gives how many were answered before.
async fn until_limited(most: usize, at_once: usize, ask: impl AsyncFn(usize) -> Got) -> usize {
    let mut made = 0;
    while made < most {
        let some = futures::future::join_all((made..made + at_once).map(|n| ask(n))).await;
        if let Some(limited) = some.into_iter().find(|got| got.status == 429) {
            limited.problem(429, "rate_limited");
            return made;
        }
        made += at_once;
    }
    panic!("{made} were not too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_try_together_run_out_of_tries_whatever_account_each_of_them_names() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "agent").await;
    let right = |who: &Person| json!({ "email": who.email, "password": PASSWORD });
    // Each with a password of another account: 1,200 a minute, and they come back while they are made.
    let guess = async |n: usize| {
        let body = json!({ "email": format!("{n}@acme.example"), "password": "not the password" });
        world.public("/v1/auth/login", body).await
    };
    let made = until_limited(4_800, 20, guess).await;
    assert!(made > 1_000, "that few do not count: {made}");
    // Also who has the password: of ten tries of their own hardly any is used up. Who is in stays in.
    let mut refused = false;
    for n in 0..8 {
        let others = 5_000 + n * 40;
        futures::future::join_all((others..others + 40).map(&guess)).await;
        let who = if n % 2 == 0 { &ann } else { &bob };
        refused |= world.public("/v1/auth/login", right(who)).await.status == 429;
    }
    assert!(refused, "there were tries left");
    world.get(&ann, "/v1/auth/me").await.is(200);
    // It comes back by itself.
    wait_for(SOON, "a try to be left", async || {
        world.public("/v1/auth/login", right(&bob)).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_can_be_closed() {
    let port = ops::dev::ports::free().unwrap();
    let closed = (ops::settings::names::REGISTRATION, "closed");
    let world = World::with(format!("nats://127.0.0.1:{port}"), &[closed]).await;
    let body = json!({ "tenant_name": "x", "name": "x", "email": "a@x.example", "password": PASSWORD });
    world.send(world.request(Method::POST, "/v1/auth/register").json(&body)).await.problem(403, "forbidden");
}
