//! What sites prove their visitors with.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::stream;
use ops::{
    auth::{Forger, SigningKey},
    kv::Kv,
    testing::{totp, wait_for},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{BusServer, Got, PASSWORD, Person, World};

const SOON: Duration = Duration::from_secs(20);

fn secret(got: &Got) -> String {
    got.body["identity_secret"].as_str().unwrap_or_else(|| panic!("no secret in {:#}", got.body)).to_owned()
}

/// Of admin-api as a whole: every answer that shows a secret.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_remembered_under_an_idempotency_key() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let post = async |path: &str, body: Value| {
        let request = world.request(Method::POST, path).bearer_auth(&ann.token).json(&body);
        world.send(request.header("idempotency-key", "the-same-for-all")).await
    };
    let widget = json!({ "name": "Site", "identity": { "algorithm": "HS256" } });
    let widget = post("/v1/widgets", widget).await.is(201);
    let rotate = format!("/v1/widgets/{}/rotate-identity-secret", widget.id());
    let token = json!({ "name": "CRM", "scopes": ["agents:read"] });
    let mut secrets = vec![secret(&widget)];
    for (path, body, shown) in [
        (rotate.as_str(), json!({}), "identity_secret"),
        (rotate.as_str(), json!({}), "identity_secret"),
        ("/v1/api-tokens", token, "token"),
        ("/v1/auth/mfa/totp", json!({ "password": PASSWORD }), "secret"),
    ] {
        let got = post(path, body).await;
        secrets.push(got.body[shown].as_str().unwrap_or_else(|| panic!("{path}: {:#}", got.body)).to_owned());
    }
    let code = json!({ "code": totp(&secrets[4])[0] });
    let codes = post("/v1/auth/mfa/totp/confirm", code).await.is(200).body["recovery_codes"].clone();
    secrets.extend(codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()));
    assert_eq!(secrets.iter().collect::<BTreeSet<_>>().len(), secrets.len());
    // Nor that they were asked for: the key is still free for something else, which is remembered.
    let tag = post("/v1/tags", json!({ "name": "vip" })).await.is(201);
    let remembered =
        "SELECT row_to_json(k)::text || convert_from(k.body, 'UTF8') FROM config.idempotency_keys k";
    let remembered = world.postgres().await.query(remembered, &[]).await.unwrap();
    let remembered: Vec<String> = remembered.iter().map(|row| row.get(0)).collect();
    assert!(remembered.len() == 1 && remembered[0].contains(&tag.id()), "{remembered:?}");
    for secret in &secrets {
        assert!(!remembered[0].contains(secret.as_str()), "{secret}");
    }
    // A widget that has none is made once, however often it is asked for.
    let plain = async || {
        let request = world.request(Method::POST, "/v1/widgets").bearer_auth(&ann.token);
        let request = request.header("idempotency-key", "plain").json(&json!({ "name": "Plain" }));
        world.send(request).await.is(201)
    };
    let (made, again) = (plain().await, plain().await);
    assert_eq!((made.body, again.header("idempotency-replayed")), (again.body.clone(), "true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_widget_is_shown_once_and_replaced() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let bucket = Kv::open(&world.bus().await, stream::CONFIG).await.unwrap();
    let ann = world.register("acme").await;
    let new = json!({ "name": "Site", "identity": { "algorithm": "HS256" } });
    let made = world.post(&ann, "/v1/widgets", new).await.is(201);
    let path = format!("/v1/widgets/{}", made.id());
    let first = secret(&made);
    assert!(first.starts_with("cbi_") && first.len() == 47, "{first}");
    let key = async || on_the_bus(&bucket, &ann, &made.id()).await;
    wait_for(SOON, "the edges to hear of the secret", async || key().await["secret"] == first.as_str()).await;

    let rotate = format!("{path}/rotate-identity-secret");
    let second = secret(&world.post(&ann, &rotate, json!(null)).await.is(200));
    assert_ne!(second, first);
    wait_for(SOON, "the edges to hear of both", async || {
        let key = key().await;
        key["secret"] == second.as_str() && key["previous"]["secret"] == first.as_str()
    })
    .await;
    // The one before the last counts no more, and after a leak neither does the last.
    let third = secret(&world.post(&ann, &rotate, json!(null)).await.is(200));
    wait_for(SOON, "the first to go", async || !key().await.to_string().contains(&first)).await;
    let leaked = json!({ "identity": { "algorithm": "HS256" } });
    let fourth = secret(&world.patch(&ann, &path, leaked).await.is(200));
    wait_for(SOON, "all others to go", async || {
        key().await == json!({ "algorithm": "HS256", "secret": fourth })
    })
    .await;

    for path in [path.as_str(), "/v1/widgets"] {
        let shown = world.get(&ann, path).await.is(200).body.to_string();
        for secret in [&first, &second, &third, &fourth] {
            assert!(!shown.contains(secret.as_str()), "{path} shows a secret");
        }
        assert!(shown.contains(r#""identity_algorithm":"HS256""#) && !shown.contains("identity_secret"));
    }
    let named = world.patch(&ann, &path, json!({ "name": "Shop" })).await.is(200);
    assert_eq!(named.body["identity_secret"], json!(null));
    assert_eq!(key().await["secret"], fourth.as_str(), "another change leaves it alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_may_sign_with_a_key_of_its_own() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let bucket = Kv::open(&world.bus().await, stream::CONFIG).await.unwrap();
    let ann = world.register("acme").await;
    let site = Forger::new(&SigningKey::generate().unwrap());
    let ed =
        |pem: &str| json!({ "name": "Site", "identity": { "algorithm": "EdDSA", "public_key_pem": pem } });
    let pem = site.public_pem();
    for wrong in [
        "",
        "x",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        &pem.replace("PUBLIC", "PRIVATE"),
    ] {
        let got = world.post(&ann, "/v1/widgets", ed(wrong)).await.problem(422, "invalid_request");
        assert_eq!(got.body["errors"][0]["pointer"], "/identity/public_key_pem", "{wrong}");
    }
    let given = json!({ "name": "Site", "identity": { "algorithm": "HS256", "secret": "x".repeat(40) } });
    world.post(&ann, "/v1/widgets", given).await.problem(400, "invalid_request");
    let made = world.post(&ann, "/v1/widgets", ed(&pem)).await.is(201);
    let shown = (&made.body["identity_algorithm"], &made.body["identity_secret"]);
    assert_eq!(shown, (&json!("EdDSA"), &json!(null)));
    wait_for(SOON, "the edges to hear of the key", async || {
        on_the_bus(&bucket, &ann, &made.id()).await["public_key_pem"] == pem.as_str()
    })
    .await;
    let rotate = format!("/v1/widgets/{}/rotate-identity-secret", made.id());
    world.post(&ann, &rotate, json!(null)).await.problem(409, "conflict");
}

/// A widget's key for identity tokens as edges have it.
async fn on_the_bus(bucket: &Kv, of: &Person, widget: &str) -> Value {
    let entry = bucket.get(&format!("widget.{}.{widget}", of.tenant)).await.unwrap();
    let record: Value = entry.map(|entry| serde_json::from_slice(&entry.value).unwrap()).unwrap_or_default();
    record["identity"].clone()
}
