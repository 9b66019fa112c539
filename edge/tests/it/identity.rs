//! Sites that say who their visitors are.

use std::time::Duration;

use bus_schema::{
    ConversationId, VisitorId, WidgetId,
    claims::Role,
    config::{IdentityKey, PreviousSecret, Record, WidgetRecord},
};
use ops::{
    auth::{Forger, SigningKey, with_secret},
    chat,
    testing::wait_for,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, message},
    desk_work::{ask, take, with},
    http::{self, Answer},
    world::{self, Edge, World, now},
};

const SOON: Duration = Duration::from_secs(20);
const AT: &str = "/identity_token";

fn secret(of: u8) -> String {
    char::from(of).to_string().repeat(43)
}

fn shared(of: u8) -> IdentityKey {
    IdentityKey::HS256 { secret: secret(of), previous: None }
}

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "typ": "JWT" })
}

/// What a site says for the next ten minutes.
fn claims(widget_key: &str, sub: &str) -> Value {
    let now = now().millis() / 1_000;
    json!({ "aud": widget_key, "sub": sub, "iat": now, "exp": now + 600 })
}

fn token(of: u8, widget_key: &str, sub: &str) -> String {
    with_secret(secret(of).as_bytes(), &header("HS256"), &claims(widget_key, sub))
}

async fn with_identity(world: &World, identity: IdentityKey) -> WidgetRecord {
    let record = WidgetRecord {
        identity: Some(identity),
        revision: 2,
        ..world::widget(world.tenant, world.widget, &world.widget_key)
    };
    world.put(&Record::Widget(record.clone())).await;
    record
}

async fn enter(edge: &Edge, body: &Value) -> Answer {
    http::post(edge.at, "/v1/widget/session", body).await
}

fn id(session: &Value, of: &str) -> String {
    session[of]["id"].as_str().unwrap_or_else(|| panic!("no {of} in {session}")).to_owned()
}

#[tokio::test]
async fn one_person_on_two_devices_is_one_visitor_with_one_conversation() {
    let world = World::new().await;
    with_identity(&world, shared(b's')).await;
    let (one, two) = (world.edge().await, world.edge().await);
    let proof = || token(b's', &world.widget_key, "crm-17");
    let first = json!({ "identity_token": proof(), "initial_message": "Hello", "name": "Ada" });
    let phone = world.session(&one, [1; 32], first).await;
    let laptop =
        world.session(&two, [2; 32], json!({ "identity_token": proof(), "external_id": "crm-17" })).await;
    assert_eq!(id(&phone, "visitor"), id(&laptop, "visitor"));
    assert_eq!(id(&phone, "conversation"), id(&laptop, "conversation"));
    assert_eq!(laptop["visitor"]["name"], "Ada");

    let visitor = VisitorId::from_external(world.tenant, "crm-17");
    assert_eq!(id(&phone, "visitor"), visitor.to_string());
    let chat::Record { seq, record, .. } = chat::record(&world.log, world.tenant, visitor).await.unwrap();
    assert_eq!((record.external_id.as_deref(), record.verified), (Some("crm-17"), true));
    world.session(&one, [1; 32], json!({ "identity_token": proof() })).await;
    let again = chat::record(&world.log, world.tenant, visitor).await.unwrap();
    assert_eq!(again.seq, seq, "nothing new was said of the visitor");

    let (mut phone, _) = Client::login(one.at, phone["token"].as_str().unwrap()).await;
    let conversation = laptop["conversation"]["id"].clone();
    let (mut laptop, seen) = Client::login(two.at, laptop["token"].as_str().unwrap()).await;
    assert!(seen["conversations"][0]["events"].to_string().contains("Hello"), "{seen}");
    laptop.stored(message(&conversation, "l-1", "From the laptop")).await;
    assert_eq!(phone.event("message").await["event"]["data"]["text"], "From the laptop");
}

#[tokio::test]
async fn a_site_with_a_key_of_its_own_proves_its_visitors_too() {
    let world = World::new().await;
    let site = Forger::new(&SigningKey::generate().unwrap());
    with_identity(&world, IdentityKey::EdDSA { public_key_pem: site.public_pem() }).await;
    let edge = world.edge().await;
    let proof = site.sign(&header("EdDSA"), &claims(&world.widget_key, "crm-17"));
    let session = world.session(&edge, [1; 32], json!({ "identity_token": proof })).await;
    assert_eq!(id(&session, "visitor"), VisitorId::from_external(world.tenant, "crm-17").to_string());
}

/// The program in `docs/identity.md`, as somebody would run it.
#[tokio::test]
async fn the_documented_way_to_make_a_token_makes_one_that_counts() {
    let world = World::new().await;
    with_identity(&world, shared(b's')).await;
    let edge = world.edge().await;
    let page = include_str!("../../../docs/identity.md");
    let program = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let made = tokio::process::Command::new("python3")
        .args(["-c", program])
        .env("IDENTITY_SECRET", secret(b's'))
        .env("WIDGET_KEY", &world.widget_key)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let proof = String::from_utf8(made.stdout).unwrap();
    let session = world.session(&edge, [1; 32], json!({ "identity_token": proof.trim() })).await;
    assert_eq!(id(&session, "visitor"), VisitorId::from_external(world.tenant, "customer-17").to_string());
}

#[tokio::test]
async fn a_label_is_no_identity_and_the_proof_of_another_is_none_either() {
    let world = World::new().await;
    with_identity(&world, shared(b's')).await;
    let edge = world.edge().await;
    let labelled = world.session(&edge, [1; 32], json!({ "external_id": "crm-17" })).await;
    let anonymous = VisitorId::from_key(world.tenant, &[1; 32]);
    assert_eq!(id(&labelled, "visitor"), anonymous.to_string());
    let record = chat::record(&world.log, world.tenant, anonymous).await.unwrap().record;
    assert_eq!((record.external_id.as_deref(), record.verified), (Some("crm-17"), false));

    let proof = token(b's', &world.widget_key, "crm-17");
    let wrong = world.session_body([1; 32], json!({ "identity_token": proof, "external_id": "crm-18" }));
    let answer = enter(&edge, &wrong).await;
    assert_eq!(answer.problem(), (422, "invalid_request"));
    assert_eq!(answer.body["errors"][0]["pointer"], "/external_id");
}

#[tokio::test]
async fn a_widget_that_asks_for_a_proof_takes_nobody_without_one() {
    let world = World::new().await;
    let record = with_identity(&world, shared(b's')).await;
    let required = WidgetRecord { identity_required: true, revision: 3, ..record };
    world.put(&Record::Widget(required)).await;
    let edge = world.edge().await;
    let path = format!("/v1/widget/config/{}", world.widget_key);
    let config = http::request(edge.at, "GET", &path, &[], "").await;
    assert_eq!(config.body["identity_required"], true);
    assert!(!config.body.to_string().contains(&secret(b's')), "the secret is told");
    let answer = enter(&edge, &world.session_body([1; 32], json!({ "initial_message": "Hello" }))).await;
    assert_eq!(answer.problem(), (401, "unauthenticated"));
    assert_eq!(answer.body["errors"][0]["pointer"], AT);
    assert_eq!(world.log.end().await.unwrap().last, 0);
    let proof = token(b's', &world.widget_key, "crm-17");
    world.session(&edge, [1; 32], json!({ "identity_token": proof, "initial_message": "Hello" })).await;
}

/// What nobody signed who may, and how it was made.
fn forgeries(world: &World, site: &Forger, own: &SigningKey) -> Vec<(&'static str, String)> {
    let said = claims(&world.widget_key, "crm-17");
    let unsigned =
        |alg: &str| with_secret(b"", &header(alg), &said).rsplit_once('.').unwrap().0.to_owned() + ".";
    let pem = site.public_pem();
    let raw = own.public().to_json();
    let by = |of: u8, header: Value| with_secret(secret(of).as_bytes(), &header, &said);
    let good = by(b's', header("HS256"));
    vec![
        ("nonsense", "x".to_owned()),
        ("nothing", String::new()),
        ("none", unsigned("none")),
        ("NONE", unsigned("NONE")),
        ("unsigned", unsigned("HS256")),
        ("the public key as a secret", with_secret(pem.as_bytes(), &header("HS256"), &said)),
        ("the public record as a secret", with_secret(&raw, &header("HS256"), &said)),
        ("an empty secret", with_secret(b"", &header("HS256"), &said)),
        (
            "an empty secret behind a kid",
            with_secret(b"", &json!({ "alg": "HS256", "kid": "/dev/null" }), &said),
        ),
        ("the neighbour's secret", by(b'n', header("HS256"))),
        ("the other widget's secret", by(b'o', header("HS256"))),
        ("another algorithm by name", by(b's', header("HS512"))),
        ("a visitor's key", Forger::new(&world.visitor_key).sign(&header("EdDSA"), &said)),
        ("the staff's key", Forger::new(&world.staff_key).sign(&header("EdDSA"), &said)),
        ("cut off", good[..good.len() - 1].to_owned()),
    ]
}

#[tokio::test]
async fn what_the_site_did_not_sign_for_this_widget_is_refused_and_writes_nothing() {
    let world = World::new().await;
    let own = SigningKey::generate().unwrap();
    let site = Forger::new(&own);
    with_identity(&world, shared(b's')).await;
    let ed = WidgetRecord {
        identity: Some(IdentityKey::EdDSA { public_key_pem: site.public_pem() }),
        ..world::widget(world.tenant, WidgetId::from_uuid(Uuid::now_v7()), "pk_ed")
    };
    let other = WidgetRecord {
        identity: Some(shared(b'o')),
        ..world::widget(world.tenant, WidgetId::from_uuid(Uuid::now_v7()), "pk_sister")
    };
    for record in [ed, other] {
        world.put(&Record::Widget(record)).await;
    }
    let edge = world.edge().await;
    let try_it = async |widget_key: &str, token: &str| {
        let more = json!({ "widget_key": widget_key, "identity_token": token, "initial_message": "Hello" });
        enter(&edge, &world.session_body([1; 32], more)).await
    };
    let mut said = Vec::new();
    for (name, forged) in forgeries(&world, &site, &own) {
        for widget_key in [world.widget_key.as_str(), "pk_ed"] {
            let answer = try_it(widget_key, &forged).await;
            assert_eq!(answer.problem(), (401, "unauthenticated"), "{name} {answer:?}");
            said.push((answer.body["detail"].clone(), answer.body["errors"].clone()));
        }
    }
    // Each widget's good token is the other's forgery.
    let ed = site.sign(&header("EdDSA"), &claims(&world.widget_key, "crm-17"));
    let hs = token(b's', "pk_ed", "crm-17");
    for (widget_key, token) in [(world.widget_key.as_str(), ed), ("pk_ed", hs)] {
        let answer = try_it(widget_key, &token).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"));
        said.push((answer.body["detail"].clone(), answer.body["errors"].clone()));
    }
    assert!(said.iter().all(|answer| *answer == said[0]), "forgeries can be told apart: {said:?}");
    assert_eq!(said[0].1[0]["pointer"], AT);

    let at = now().millis() / 1_000;
    let with = |change: Value| {
        let mut claims = claims(&world.widget_key, "crm-17");
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        with_secret(secret(b's').as_bytes(), &header("HS256"), &claims)
    };
    let signed = [
        ("the sister's key as aud", with(json!({ "aud": "pk_sister" }))),
        ("several widgets", with(json!({ "aud": [world.widget_key, "pk_sister"] }))),
        ("nobody", with(json!({ "sub": "" }))),
        ("too long a name", with(json!({ "sub": "x".repeat(201) }))),
        ("expired", with(json!({ "iat": at - 600, "exp": at - 60 }))),
        ("for a day", with(json!({ "exp": at + 86_400 }))),
        ("from tomorrow", with(json!({ "nbf": at + 86_400 }))),
    ];
    for (name, token) in signed {
        let answer = try_it(&world.widget_key, &token).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{name} {answer:?}");
        assert_eq!(answer.body["errors"][0]["pointer"], AT, "{name}");
    }
    let long = try_it(&world.widget_key, &"x".repeat(5_000)).await;
    assert_eq!((long.problem(), &long.body["errors"][0]["pointer"]), ((422, "invalid_request"), &json!(AT)));
    assert_eq!(world.log.end().await.unwrap().last, 0);
    assert_eq!(try_it(&world.widget_key, &with(json!({}))).await.status, 200, "all of them were close");
}

#[tokio::test]
async fn a_replaced_secret_counts_until_its_end_at_every_edge() {
    let world = World::new().await;
    let record = with_identity(&world, shared(b's')).await;
    let edge = world.edge().await;
    let outcome = async |of: u8| {
        let proof = json!({ "identity_token": token(of, &world.widget_key, "crm-17") });
        enter(&edge, &world.session_body([1; 32], proof)).await.status
    };
    let replace = async |revision: u64, until: i64| {
        let until = bus_schema::Timestamp::from_millis(now().millis() + until);
        let previous = Some(PreviousSecret { secret: secret(b's'), until });
        let identity = Some(IdentityKey::HS256 { secret: secret(b't'), previous });
        world.put(&Record::Widget(WidgetRecord { identity, revision, ..record.clone() })).await;
    };
    assert_eq!((outcome(b's').await, outcome(b't').await), (200, 401));
    replace(3, 60_000).await;
    wait_for(SOON, "the edge to know the new secret", async || outcome(b't').await == 200).await;
    assert_eq!(outcome(b's').await, 200);
    replace(4, -1).await;
    wait_for(SOON, "the old secret to end", async || outcome(b's').await == 401).await;
    assert_eq!(outcome(b't').await, 200);
}

#[tokio::test]
async fn nobody_reads_by_an_external_id_what_belongs_to_another() {
    let world = World::new().await;
    with_identity(&world, shared(b's')).await;
    // The neighbour has a customer of the same number, and even the same secret.
    let theirs = world.neighbour().await;
    let other = theirs.key.clone();
    world.put(&Record::Widget(WidgetRecord { identity: Some(shared(b's')), ..theirs })).await;
    let edge = world.edge().await;
    let session = async |key: u8, widget_key: &str, sub: Option<&str>| {
        let mut more = json!({ "widget_key": widget_key, "initial_message": "Mine" });
        if let Some(sub) = sub {
            more["identity_token"] = token(b's', widget_key, sub).into();
        }
        world.session(&edge, [key; 32], more).await
    };
    let own = world.widget_key.clone();
    let all = [
        session(1, &own, Some("crm-17")).await,
        session(2, &own, Some("crm-18")).await,
        // The external id as the key's bytes would be another's, and an anonymous visitor of the first's key is not the first.
        session(1, &own, None).await,
        session(1, &other, Some("crm-17")).await,
    ];
    for (n, reader) in all.iter().enumerate() {
        for (m, owner) in all.iter().enumerate() {
            let path = format!("/v1/conversations/{}/events", id(owner, "conversation"));
            let answer = http::get_as(edge.at, &path, reader["token"].as_str().unwrap()).await;
            assert_eq!(answer.status, if n == m { 200 } else { 404 }, "{n} reads {m}: {answer:?}");
        }
    }
    let cross = json!({ "widget_key": other, "identity_token": token(b's', &own, "crm-17") });
    assert_eq!(enter(&edge, &world.session_body([9; 32], cross)).await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn who_identifies_leaves_the_anonymous_thread_behind() {
    let world = World::new().await;
    with_identity(&world, shared(b's')).await;
    let edge = world.edge().await;
    let proof = || json!({ "identity_token": token(b's', &world.widget_key, "crm-17") });
    let anonymous = world.session(&edge, [1; 32], json!({ "initial_message": "Who am I?" })).await;
    let before: ConversationId = id(&anonymous, "conversation").parse().unwrap();
    let (mut visitor, _) = Client::login(edge.at, anonymous["token"].as_str().unwrap()).await;
    let is_open = async || chat::life(&world.log, world.home(before)).await.unwrap().unwrap().is_open();

    // Without a router the thread stays, and the visitor gets in.
    let known = world.session(&edge, [1; 32], proof()).await;
    assert_eq!(known["conversation"], json!(null), "a conversation of its own, which has not begun");
    assert!(is_open().await);

    let _router = world.routed().await;
    let token = world.staff_token(world.agents[0], Role::Agent);
    let (mut agent, _) = Client::login(edge.at, &token).await;
    take(&mut agent, before).await;
    // Somebody else's proof on another device is no reason.
    world.session(&edge, [2; 32], proof()).await;
    assert!(is_open().await);

    let mut said = proof();
    said["initial_message"] = "It is me".into();
    let known = world.session(&edge, [1; 32], said).await;
    let closed = visitor.event("closed").await["event"].clone();
    assert_eq!(closed["data"]["reason"], "identified");
    assert_eq!(closed["author"]["id"], anonymous["visitor"]["id"]);
    assert_eq!(agent.event("closed").await["event"]["data"]["reason"], "identified");
    assert_ne!(known["conversation"]["id"], json!(before));
    let late = message(&json!(before), "a-1", "Are you there?");
    assert_eq!(ask(&mut agent, "send_event", late).await, "thread_closed");

    // What was said before is read with the anonymous token, by whoever holds it.
    let path = format!("/v1/conversations/{before}/events");
    let read =
        async |session: &Value| http::get_as(edge.at, &path, session["token"].as_str().unwrap()).await.status;
    assert_eq!((read(&anonymous).await, read(&known).await), (200, 404));
    // And the same key without a proof goes on where it was.
    let back = world.session(&edge, [1; 32], json!({ "initial_message": "Signed out" })).await;
    assert_eq!(id(&back, "conversation"), before.to_string());
    let close = with(before, json!({}));
    assert_eq!(ask(&mut visitor, "close_thread", close).await, "ok");
}
