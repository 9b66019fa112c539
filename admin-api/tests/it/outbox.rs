//! What is configured reaches the bus, whatever happens to it.

use std::time::Duration;

use bus_schema::{config::Record, stream};
use ops::{kv::Kv, settings::names, testing::wait_for};
use serde_json::json;

use crate::{
    mailbox::Mailbox,
    world::{BusServer, PASSWORD, Person, World},
};

const SOON: Duration = Duration::from_secs(20);

async fn record(bucket: &Kv, key: &str) -> Option<Record> {
    let entry = bucket.get(key).await.ok()??;
    Some(Record::decode(key, &entry.value).unwrap())
}

async fn group_named(bucket: &Kv, ann: &Person, id: &str, name: &str) {
    let key = format!("group.{}.{id}", ann.tenant);
    wait_for(
        SOON,
        "the group on the bus",
        async || matches!(record(bucket, &key).await, Some(Record::Group(group)) if group.name == name),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_reaches_the_bus_with_a_growing_revision() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let bucket = Kv::open(&world.bus().await, stream::CONFIG).await.unwrap();
    let ann = world.register("acme").await;
    wait_for(SOON, "the tenant on the bus", async || {
        record(&bucket, &format!("tenant.{}", ann.tenant)).await.is_some()
            && record(&bucket, &format!("agent.{}.{}", ann.tenant, ann.id)).await.is_some()
    })
    .await;
    let id = world.post(&ann, "/v1/groups", json!({ "name": "A" })).await.is(201).id();
    group_named(&bucket, &ann, &id, "A").await;
    let key = format!("group.{}.{id}", ann.tenant);
    let before = record(&bucket, &key).await.unwrap().revision();
    world.patch(&ann, &format!("/v1/groups/{id}"), json!({ "name": "B" })).await.is(200);
    group_named(&bucket, &ann, &id, "B").await;
    assert!(record(&bucket, &key).await.unwrap().revision() > before);
    world.delete(&ann, &format!("/v1/groups/{id}")).await.is(204);
    wait_for(
        SOON,
        "the deletion on the bus",
        async || matches!(record(&bucket, &key).await, Some(Record::Group(group)) if group.deleted),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_while_the_bus_is_away_reach_it_when_it_is_back() {
    let mut server = BusServer::start().await;
    let world = World::on(&server).await;
    let bucket = Kv::open(&world.bus().await, stream::CONFIG).await.unwrap();
    let ann = world.register("acme").await;
    let id = world.post(&ann, "/v1/groups", json!({ "name": "A" })).await.is(201).id();
    group_named(&bucket, &ann, &id, "A").await;
    server.nats.kill();
    for name in ["B", "C"] {
        world.patch(&ann, &format!("/v1/groups/{id}"), json!({ "name": name })).await.is(200);
    }
    world.get(&ann, "/v1/agents/online").await.problem(503, "unavailable");
    server.nats.restart().await;
    group_named(&bucket, &ann, &id, "C").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_bus_refuses_holds_up_no_other() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let bucket = Kv::open(&world.bus().await, stream::CONFIG).await.unwrap();
    let ann = world.register("acme").await;
    // More than a round of what no server takes, older than all else.
    let bad = "INSERT INTO config.outbox (tenant_id, id, bucket, key, revision, value, created_at)
               SELECT $1, gen_random_uuid(), 'revoked', 'not a key' || n, 1, '', now() - interval '1 hour'
                 FROM generate_series(1, 150) n";
    let tenant: uuid::Uuid = ann.tenant.parse().unwrap();
    world.postgres().await.execute(bad, &[&tenant]).await.unwrap();
    let id = world.post(&ann, "/v1/groups", json!({ "name": "A" })).await.is(201).id();
    group_named(&bucket, &ann, &id, "A").await;
    let waiting = "SELECT count(*) FROM config.outbox WHERE attempts > 0";
    let row = world.postgres().await.query_one(waiting, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_comes_late_or_lies_is_set_right() {
    let server = BusServer::start().await;
    let bus = server.bus().await;
    let bucket = Kv::open(&bus, stream::CONFIG).await.unwrap();
    let world = World::on(&server).await;
    let ann = world.register("acme").await;
    let id = world.post(&ann, "/v1/groups", json!({ "name": "A" })).await.is(201).id();
    group_named(&bucket, &ann, &id, "A").await;
    let key = format!("group.{}.{id}", ann.tenant);
    let Some(Record::Group(group)) = record(&bucket, &key).await else { panic!("no group") };
    // As after restoring an older backup of Postgres: the bus knows more than there ever was.
    let mut lie = group.clone();
    lie.name = "Lie".to_owned();
    lie.revision += 1000;
    let mut stranger = lie.clone();
    stranger.group_id = bus_schema::GroupId::from_uuid(uuid::Uuid::now_v7());
    let stranger_key = Record::Group(stranger.clone()).key();
    bucket.put(&key, Record::Group(lie.clone()).encode()).await.unwrap();
    bucket.put(&stranger_key, Record::Group(stranger).encode()).await.unwrap();

    let again = World::beside(&world).await;
    group_named(&bucket, &ann, &id, "A").await;
    wait_for(
        SOON,
        "the stranger to be gone",
        async || matches!(record(&bucket, &stranger_key).await, Some(Record::Group(group)) if group.deleted),
    )
    .await;
    let revision = record(&bucket, &key).await.unwrap().revision();
    assert!(revision > lie.revision, "readers would take the lie for newer");
    again.patch(&ann, &format!("/v1/groups/{id}"), json!({ "name": "D" })).await.is(200);
    group_named(&bucket, &ann, &id, "D").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_early_is_told_to_the_edges() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let revoked = Kv::open(&server.bus().await, stream::REVOKED).await.unwrap();
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "agent").await;
    let other = world.login(&bob.email).await;
    let sessions = world.get(&bob, "/v1/auth/sessions").await.is(200);
    let find = |current: bool| {
        let all = sessions.body["data"].as_array().unwrap();
        all.iter().find(|session| session["current"] == current).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let told = async |id: String| {
        wait_for(SOON, "the end of the session on the bus", async || {
            revoked.get(&id).await.unwrap().is_some()
        })
        .await;
    };
    world.delete(&bob, &format!("/v1/auth/sessions/{}", find(false))).await.is(204);
    told(find(false)).await;
    world.get(&other, "/v1/auth/me").await.problem(401, "unauthenticated");
    world.delete(&ann, &format!("/v1/agents/{}", bob.id)).await.is(204);
    told(find(true)).await;
    // The public key that verifies tokens is there for the edges as well.
    let keys = Kv::open(&server.bus().await, stream::KEYS).await.unwrap();
    wait_for(SOON, "the staff key", async || {
        keys.keys().await.unwrap().iter().any(|k| k.starts_with("staff."))
    })
    .await;
}

/// The session of this login.
async fn session(world: &World, who: &Person) -> String {
    let validated = world.post(who, "/v1/auth/validate", json!(null)).await.is(200);
    validated.body["session_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_session_is_told_to_the_edges() {
    const NEW: &str = "a quite different one";
    let server = BusServer::start().await;
    let mailbox = Mailbox::open().await;
    let world = World::on_with(&server, &[(names::SMTP_URL, mailbox.url.as_str())]).await;
    let revoked = Kv::open(&server.bus().await, stream::REVOKED).await.unwrap();
    let ann = world.register("acme").await;
    let ended = async |how: &str, who: &Person, id: String| {
        world.get(who, "/v1/auth/me").await.problem(401, "unauthenticated");
        wait_for(SOON, &format!("the session that ended by {how} on the bus"), async || {
            revoked.get(&id).await.unwrap().is_some()
        })
        .await;
    };
    let supervisor = world.agent(&ann, "sue", "supervisor").await;

    let login = world.login(&supervisor.email).await;
    let id = session(&world, &login).await;
    world.post(&login, "/v1/auth/logout", json!(null)).await.is(204);
    ended("a logout", &login, id).await;

    let login = world.login(&supervisor.email).await;
    let id = session(&world, &login).await;
    let refresh = json!({ "refresh_token": login.refresh_token });
    world.public("/v1/auth/refresh", refresh.clone()).await.is(200);
    world.public("/v1/auth/refresh", refresh).await.problem(401, "unauthenticated");
    ended("the reuse of a refresh token", &login, id).await;

    let login = world.login(&supervisor.email).await;
    let id = session(&world, &login).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    world.post(&supervisor, "/v1/auth/password", change).await.is(204);
    ended("another password", &login, id).await;
    let kept = session(&world, &supervisor).await;
    assert!(revoked.get(&kept).await.unwrap().is_none(), "who changes the password stays");

    let email = json!({ "email": supervisor.email });
    world.public("/v1/auth/password/forgot", email).await.is(204);
    let letters = || mailbox.to(&supervisor.email);
    let link = wait_for(SOON, "the mail with the link", async || {
        letters().into_iter().find(|letter| letter.text.contains("#token=")).ok_or("no such mail yet")
    })
    .await;
    let reset = json!({ "token": link.token(), "password": PASSWORD });
    world.public("/v1/auth/password/reset", reset).await.is(204);
    ended("a reset", &supervisor, kept).await;

    let login = world.login(&supervisor.email).await;
    let id = session(&world, &login).await;
    let lower = json!({ "role": "agent" });
    world.patch(&ann, &format!("/v1/agents/{}", supervisor.id), lower).await.is(200);
    ended("a lower role", &login, id).await;
}
