//! Logging in with a second factor, and choosing a tenant.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ops::testing::totp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    passwords::with_mail,
    world::{Got, PASSWORD, Person, World},
};

async fn login(world: &World, email: &str) -> Got {
    world.public("/v1/auth/login", json!({ "email": email, "password": PASSWORD })).await
}

async fn complete(world: &World, body: Value) -> Got {
    world.public("/v1/auth/login/mfa", body).await
}

/// Turns it on; gives the secret and the recovery codes.
async fn turn_on(world: &World, who: &Person) -> (String, Vec<String>) {
    let prepare = world.post(who, "/v1/auth/mfa/totp", json!({ "password": PASSWORD })).await.is(200);
    let secret = prepare.body["secret"].as_str().unwrap().to_owned();
    assert!(prepare.body["otpauth_url"].as_str().unwrap().contains(&format!("secret={secret}&")));
    world
        .post(who, "/v1/auth/mfa/totp/confirm", json!({ "code": "000000x" }))
        .await
        .problem(422, "invalid_request");
    // Until it is confirmed nothing is asked for.
    login(world, &who.email).await.is(200);
    let confirmed = world.post(who, "/v1/auth/mfa/totp/confirm", json!({ "code": totp(&secret)[0] }));
    let recovery = confirmed.await.is(200).body["recovery_codes"].clone();
    (secret, serde_json::from_value(recovery).unwrap())
}

fn login_token(got: &Got) -> String {
    got.body["data"]["login_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_each_code_counts_once() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    world.post(&ann, "/v1/auth/mfa/totp", json!({})).await.problem(400, "invalid_request");
    let wrong = json!({ "password": "not hers at all" });
    world.post(&ann, "/v1/auth/mfa/totp", wrong).await.problem(422, "invalid_request");
    let (secret, recovery) = turn_on(&world, &ann).await;
    assert_eq!(recovery.len(), 10);
    world
        .post(&ann, "/v1/auth/mfa/totp", json!({ "password": PASSWORD }))
        .await
        .problem(409, "already_exists");
    assert_eq!(world.get(&ann, "/v1/auth/me").await.body["second_factor"], true);

    let asked = login(&world, &ann.email).await.problem(401, "mfa_required");
    assert!(!asked.body.to_string().contains(&ann.tenant), "nothing about the account is told yet");
    let token = login_token(&asked);
    complete(&world, json!({ "login_token": token })).await.problem(422, "invalid_request");
    complete(&world, json!({ "login_token": "cbl_x", "code": recovery[0] }))
        .await
        .problem(401, "unauthenticated");
    // The code that confirmed it is used up.
    let used = json!({ "login_token": token, "code": totp(&secret)[0] });
    complete(&world, used).await.problem(401, "unauthenticated");
    let right = json!({ "login_token": token, "code": totp(&secret)[1] });
    let both = futures::future::join_all((0..4).map(|_| complete(&world, right.clone()))).await;
    assert_eq!(both.iter().filter(|got| got.status == 200).count(), 1);

    let by_recovery =
        |token: String, code: &str| json!({ "login_token": token, "code": code.to_lowercase() });
    let next = async || login_token(&login(&world, &ann.email).await.problem(401, "mfa_required"));
    complete(&world, by_recovery(next().await, &recovery[0])).await.is(200);
    complete(&world, by_recovery(next().await, &recovery[0])).await.problem(401, "unauthenticated");

    let remove =
        async |code: &str| world.call(Method::DELETE, &ann, "/v1/auth/mfa", json!({ "code": code })).await;
    remove("123456").await.problem(422, "invalid_request");
    remove(&recovery[1]).await.is(204);
    remove(&recovery[2]).await.problem(404, "not_found");
    login(&world, &ann.email).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_after_a_few_wrong_codes() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let (_, recovery) = turn_on(&world, &ann).await;
    let token = login_token(&login(&world, &ann.email).await);
    for _ in 0..5 {
        let wrong = json!({ "login_token": token, "code": "AAAA-AAAA-AAAA-AAAA" });
        complete(&world, wrong).await.problem(401, "unauthenticated");
    }
    let right = json!({ "login_token": token, "code": recovery[0] });
    complete(&world, right).await.problem(401, "unauthenticated");
    let token = login_token(&login(&world, &ann.email).await);
    complete(&world, json!({ "login_token": token, "code": recovery[0] })).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_choice_of_a_tenant_comes_after_the_code_and_does_not_use_it_up() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let second = json!({ "tenant_name": "other", "name": "Ann", "email": ann.email, "password": PASSWORD });
    world.public("/v1/auth/register", second).await.is(201);
    // Without a second factor the same token goes on, too.
    let choice = login(&world, &ann.email).await.problem(401, "tenant_required");
    let other = choice.body["data"]["tenants"][1]["id"].clone();
    let chosen = json!({ "login_token": login_token(&choice), "tenant_id": other });
    assert_eq!(complete(&world, chosen.clone()).await.is(200).body["tenant"]["name"], "other");
    complete(&world, chosen).await.problem(401, "unauthenticated");

    let prepare = world.post(&ann, "/v1/auth/mfa/totp", json!({ "password": PASSWORD })).await.is(200);
    let secret = prepare.body["secret"].as_str().unwrap().to_owned();
    world.post(&ann, "/v1/auth/mfa/totp/confirm", json!({ "code": totp(&secret)[0] })).await.is(200);
    let token = login_token(&login(&world, &ann.email).await.problem(401, "mfa_required"));
    let code = totp(&secret)[1].clone();
    let choice = complete(&world, json!({ "login_token": token, "code": code })).await;
    assert_eq!(choice.problem(401, "tenant_required").body["data"]["tenants"][1]["id"], other);
    let chosen = json!({ "login_token": token, "code": code, "tenant_id": other });
    assert_eq!(complete(&world, chosen).await.is(200).body["tenant"]["name"], "other");
    // Asked for with the password already, it is not asked for again.
    let asked = json!({ "email": ann.email, "password": PASSWORD, "tenant_id": other });
    world.public("/v1/auth/login", asked).await.problem(401, "mfa_required");
}

/// Whoever has the password alone gets no session of the account by a new tenant either, and makes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_tenant_of_an_account_asks_for_its_second_factor() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let (secret, recovery) = turn_on(&world, &ann).await;
    let register = async |code: Option<&str>| {
        let mut new =
            json!({ "tenant_name": "other", "name": "Ann", "email": ann.email, "password": PASSWORD });
        if let Some(code) = code {
            new["code"] = json!(code);
        }
        world.public("/v1/auth/register", new).await
    };
    let missing = register(None).await.problem(422, "invalid_request");
    assert_eq!(missing.body["errors"][0]["pointer"], "/code");
    // The code that confirmed it is used up.
    for wrong in [&totp(&secret)[0], "AAAA-AAAA-AAAA-AAAA"] {
        register(Some(wrong)).await.problem(401, "unauthenticated");
    }
    let tenants = "SELECT count(*) FROM config.tenants";
    assert_eq!(world.postgres().await.query_one(tenants, &[]).await.unwrap().get::<_, i64>(0), 1);
    let right = totp(&secret)[1].clone();
    assert_eq!(register(Some(&right)).await.is(201).body["tenant"]["name"], "other");
    register(Some(&right)).await.problem(401, "unauthenticated");
    register(Some(&recovery[0])).await.is(201);
    register(Some(&recovery[0])).await.problem(401, "unauthenticated");
}

/// The role of a login is that of its end: what was read before may have changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_overlaps_a_demotion_or_a_deletion_keeps_nothing_of_before() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let eve = world.agent(&ann, "eve", "admin").await;
    let (_, recovery) = turn_on(&world, &eve).await;
    let path = format!("/v1/agents/{}", eve.id);
    for (code, change) in [(0, Some(json!({ "role": "agent" }))), (1, None)] {
        let token = login_token(&login(&world, &eve.email).await.problem(401, "mfa_required"));
        let mut holding = world.postgres().await;
        let hold = holding.transaction().await.unwrap();
        hold.execute("SELECT FROM config.open_logins FOR UPDATE", &[]).await.unwrap();
        let late = complete(&world, json!({ "login_token": token, "code": recovery[code] }));
        let meanwhile = async {
            // It has read who Eve is.
            world.somebody_waits_for_a_lock().await;
            match &change {
                Some(change) => world.patch(&ann, &path, change.clone()).await.is(200),
                None => world.delete(&ann, &path).await.is(204),
            };
            hold.commit().await.unwrap();
        };
        let (got, ()) = tokio::join!(late, meanwhile);
        if change.is_none() {
            got.problem(401, "unauthenticated");
            continue;
        }
        let got = got.is(200);
        let claims = got.body["access_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!((&claims["role"], &got.body["agent"]["role"]), (&json!("agent"), &json!("agent")));
    }
    let open = "SELECT count(*) FROM config.sessions WHERE agent_id = $1::text::uuid AND ended_at IS NULL";
    assert_eq!(world.postgres().await.query_one(open, &[&eve.id]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_account_without_a_password_sets_up_no_second_factor() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let prepare = async || world.post(&ann, "/v1/auth/mfa/totp", json!({ "password": PASSWORD })).await;
    let secret = prepare().await.is(200).body["secret"].as_str().unwrap().to_owned();
    // As of somebody who logs in at a provider.
    let none = "UPDATE config.accounts SET password_hash = NULL";
    world.postgres().await.execute(none, &[]).await.unwrap();
    prepare().await.problem(409, "conflict");
    let confirm = json!({ "code": totp(&secret)[0] });
    world.post(&ann, "/v1/auth/mfa/totp/confirm", confirm).await.problem(409, "conflict");
    assert_eq!(world.get(&ann, "/v1/auth/me").await.body["second_factor"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_took_an_address_keeps_no_factor_on_it_once_its_owner_comes() {
    let (world, mailbox) = with_mail().await;
    // Nobody has proved yet that the address is theirs.
    let ann = world.register("acme").await;
    turn_on(&world, &ann).await;
    let reset = async |nth: usize| {
        let email = json!({ "email": ann.email });
        world.public("/v1/auth/password/forgot", email).await.is(204);
        let links = mailbox.nth(&ann.email, nth).await;
        let new = json!({ "token": links.token(), "password": PASSWORD });
        world.public("/v1/auth/password/reset", new).await.is(204);
    };
    login(&world, &ann.email).await.problem(401, "mfa_required");
    let removed = async || {
        let count = "SELECT count(*) FROM config.audit_log WHERE action = 'second_factor_removed'";
        world.postgres().await.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    reset(0).await;
    assert_eq!(removed().await, 1, "it is written down");
    let own = world.login(&ann.email).await;
    // Now it is proved: what is set up from here on a mail alone does not turn off.
    turn_on(&world, &own).await;
    reset(2).await;
    login(&world, &ann.email).await.problem(401, "mfa_required");
    assert_eq!(removed().await, 1);
}
