//! Which visitors are there, over HTTP, as an edge that runs says.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{
    IncarnationId,
    stream::{LEASES, edge_lease},
};
use ops::{
    client::{Client, Options, Tokens},
    kv::Kv,
    testing::wait_for,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    tenancy::{Scene, Tenant, targets::Side},
    world::{BusServer, Person, World},
};

const SOON: Duration = Duration::from_secs(20);
const LIST: &str = "/v1/visitors/online";

async fn connect(scene: &Scene, token: &str) -> Client {
    let edges = vec![scene.url(Side::Edge).to_owned()];
    let client = Client::start(Options { pushes: 0, ..Options::new(edges, Tokens::fixed(token)) });
    client.ready(SOON).await.unwrap();
    client
}

/// A visitor who says nothing: the token and the id.
async fn passer_by(scene: &Scene, of: &Tenant) -> (String, String) {
    let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let body = json!({ "widget_key": of.ids["widget_key"], "visitor_key": key });
    let url = format!("{}/v1/widget/session", scene.url(Side::Edge));
    let answer = scene.send(scene.world.http.post(url).json(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let got = answer.json();
    let text = |pointer: &str| got.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    (text("/token"), text("/visitor/id"))
}

async fn list(world: &World, who: &Person) -> Vec<Value> {
    let got = world.get(who, LIST).await.is(200);
    assert!(!got.header("x-applied-seq").is_empty());
    got.body["data"].as_array().unwrap().clone()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|visitor| visitor["id"].as_str().unwrap()).collect()
}

/// Until this is whom they see.
async fn sees(world: &World, who: &Person, wanted: &[&str]) -> Vec<Value> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    wait_for(SOON, "the visitors to be listed", async || {
        let list = list(world, who).await;
        if ids(&list) == wanted { Ok(list) } else { Err(format!("{list:?}, not {wanted:?}")) }
    })
    .await
}

/// Until a conversation says so of its visitor, by itself and in the list.
async fn shows(world: &World, who: &Person, conversation: &str, online: Value) {
    wait_for(SOON, "the conversation to say whether its visitor is there", async || {
        let one = world.get(who, &format!("/v1/conversations/{conversation}")).await.is(200).body;
        let list = world.get(who, "/v1/conversations").await.is(200).body;
        let listed = list["data"].as_array().unwrap().iter().find(|one| one["id"] == conversation).unwrap();
        let says = [&one["visitor"]["online"], &listed["visitor"]["online"]];
        if says == [&online, &online] { Ok(()) } else { Err(format!("{says:?}, not {online}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_is_listed_to_those_whose_business_it_is() {
    let scene = Scene::open().await;
    let world = &scene.world;
    let (here, there) = (Tenant::open(&scene).await, Tenant::open(&scene).await);
    let outside = here.outsider.clone();
    assert_eq!(list(world, &here.admin).await, [0; 0], "all have spoken over HTTP alone");
    let conversation = here.visit.conversation.as_str();
    shows(world, &here.agent, conversation, json!(false)).await;

    let (token, passer_by) = passer_by(&scene, &here).await;
    let talks = connect(&scene, &here.visit.token).await;
    let passes = connect(&scene, &token).await;
    let _foreign = connect(&scene, &there.visit.token).await;
    let page = json!({ "url": "https://acme.example/prices", "title": "Prices" });
    talks.request_raw("set_page", &page.to_string()).await.unwrap();

    let (visitor, passer_by) = (here.visit.visitor.as_str(), passer_by.as_str());
    for who in [&here.admin, &here.supervisor, &here.agent] {
        sees(world, who, &[visitor, passer_by]).await;
    }
    let all = wait_for(SOON, "the page to be told", async || {
        let all = list(world, &here.agent).await;
        if all.iter().any(|one| one["page"] == page) { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await;
    let of = |id: &str| all.iter().find(|one| one["id"] == id).unwrap();
    assert_eq!(of(visitor)["conversation_id"], here.visit.conversation);
    assert_eq!(of(visitor)["group_id"], here.ids["group"]);
    let record = world.get(&here.agent, &format!("/v1/visitors/{visitor}")).await.is(200).body;
    assert_eq!(of(visitor)["visitor"], record, "as it is shown elsewhere");
    assert_eq!((&of(passer_by)["visitor"], &of(passer_by)["group_id"]), (&Value::Null, &Value::Null));

    shows(world, &here.agent, conversation, json!(true)).await;
    let then = world.get(&here.agent, &format!("/v1/conversations/{conversation}?at_seq={}", i64::MAX)).await;
    assert_eq!(then.is(200).body["visitor"]["online"], Value::Null, "who was there is not stored");

    // Who talks to nobody is everybody's business; who talks to another group is not.
    sees(world, &outside, &[passer_by]).await;
    sees(world, &there.admin, &[&there.visit.visitor]).await;
    let assign = format!("/v1/conversations/{}/assign", here.visit.conversation);
    world.post(&here.admin, &assign, json!({ "agent_id": outside.id })).await.is(200);
    let own = sees(world, &outside, &[visitor, passer_by]).await;
    let own = own.iter().find(|one| one["id"] == visitor).unwrap();
    assert_eq!(own["visitor"]["name"], record["name"], "it is one's own, of whatever group");

    let first = world.get(&here.admin, &format!("{LIST}?limit=1")).await.is(200).body;
    let next = format!("{LIST}?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = world.get(&here.admin, &next).await.is(200).body;
    let paged = [&first, &second].map(|page| page["data"][0]["id"].clone());
    let mut both = [visitor, passer_by];
    both.sort_unstable();
    assert_eq!((paged, &second["next_cursor"]), (both.map(Value::from), &Value::Null));

    talks.close().await;
    sees(world, &here.agent, &[passer_by]).await;
    shows(world, &here.admin, conversation, json!(false)).await;
    // An edge that died without a word is not waited for without end.
    let leases = Kv::open(&world.bus().await, LEASES).await.unwrap();
    leases.put(&edge_lease(IncarnationId::from_uuid(Uuid::now_v7())), "{}").await.unwrap();
    sees(world, &here.admin, &[passer_by]).await;
    // It is not known whether that one had the visitor; the others' word counts.
    shows(world, &here.admin, conversation, Value::Null).await;
    let talks = connect(&scene, &here.visit.token).await;
    shows(world, &here.admin, conversation, json!(true)).await;
    talks.close().await;
    passes.close().await;
    sees(world, &here.admin, &[]).await;
    sees(world, &there.admin, &[&there.visit.visitor]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_nobody_knows_who_is_there() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    world.get(&ann, LIST).await.problem(503, "unavailable");
    let made = "INSERT INTO chat.conversations (tenant_id, id, visitor_id, created_at, thread_id, status, participants,
            life_seq, last_at, last_seq)
        VALUES ($1, $2, gen_random_uuid(), now(), gen_random_uuid(), 'queued', '{}', 1, now(), 1)";
    let (tenant, conversation) = (ann.tenant.parse::<Uuid>().unwrap(), Uuid::now_v7());
    world.postgres().await.execute(made, &[&tenant, &conversation]).await.unwrap();
    shows(&world, &ann, &conversation.to_string(), Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_edge_says_a_word_nobody_knows_who_is_there() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    let ann = world.register("acme").await;
    assert_eq!(list(&world, &ann).await, Vec::<Value>::new(), "no edge, no visitors");
    let leases = Kv::open(&world.bus().await, LEASES).await.unwrap();
    leases.put(&edge_lease(IncarnationId::from_uuid(Uuid::now_v7())), "{}").await.unwrap();
    world.get(&ann, LIST).await.problem(503, "unavailable");
}
