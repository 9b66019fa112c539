//! Files that go: purged, never sent, cut off; and those that stay, whatever happens around them.

use std::{sync::Arc, time::Duration};

use bus_schema::{
    Author, Timestamp,
    claims::Role,
    event::File,
    file::{FileKey, Pending, Stage},
    stream,
};
use ops::{
    files::{Files, NatsStore, Settled},
    kv::Kv,
    testing::wait_for,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{Client, message},
    files::{
        PNG, Tokens, emptied, fetch, file_event, form, link, stored_pieces, tokens, upload, upload_head,
        uploaded,
    },
    signals::{Scene, conversation},
    world::now,
};

const SOON: Duration = Duration::from_secs(20);

async fn files(scene: &Scene) -> Files {
    let bus = &scene.world.bus;
    Files::open(bus, Arc::new(NatsStore::new(bus.clone()))).await.unwrap()
}

fn key(scene: &Scene, file: &Value) -> FileKey {
    let attachment = file["attachment_id"].as_str().unwrap().parse().unwrap();
    FileKey { tenant: scene.world.tenant, attachment }
}

fn later(minutes: u64) -> Timestamp {
    now().plus(Duration::from_secs(60 * minutes))
}

#[tokio::test]
async fn a_supervisor_removes_the_bytes_and_no_link_finds_them() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let token = scene.world.staff_token(scene.world.agents[1], Role::Supervisor);
    let (mut supervisor, _) = Client::login(at, &token).await;
    let file = uploaded(at, &id, &visitor, "a.png", PNG).await;
    let sent = scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    let words = scene.visitor.request("send_event", message(&id, "v-2", "words")).await;
    let path = link(&mut scene.visitor, &file).await.unwrap();
    let delete = |client_id: &str, event: &Value, purge: bool| {
        let data = json!({ "target_id": event["payload"]["event_id"], "purge": purge });
        json!({ "conversation_id": id,
                "event": { "kind": "message_deleted", "client_id": client_id, "data": data } })
    };
    let code = |answer: &Value| answer["payload"]["error"]["code"].as_str().unwrap_or("none").to_owned();
    for client in [&mut scene.visitor, &mut scene.staff] {
        let answer = client.request("send_event", delete("x-1", &sent, true)).await;
        assert_eq!(code(&answer), "forbidden", "{answer}");
    }
    let answer = supervisor.request("send_event", delete("s-1", &words, true)).await;
    assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], "/payload/event/data/purge");
    // Hidden first: no new links. The bytes are there until somebody removes them.
    let answer = scene.visitor.request("send_event", delete("v-3", &sent, false)).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(link(&mut scene.staff, &file).await, Err("not_found".into()));
    assert_eq!(fetch(at, &path).await.body, PNG);
    let answer = supervisor.request("send_event", delete("s-2", &sent, true)).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(fetch(at, &path).await.refused(), (404, "not_found".into()));
    emptied(&scene).await;
    assert!(files(&scene).await.unsettled().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_removal_whose_edge_died_is_finished_once_its_event_is_stored_and_only_then() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let file = uploaded(at, &id, &visitor, "a.png", PNG).await;
    let sent = scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    let (files, key) = (files(&scene).await, key(&scene, &file));
    let uploads = Kv::open(&scene.world.bus, stream::UPLOADS).await.unwrap();
    let going = |event: &Value| Pending {
        conversation_id: conversation(&id),
        author: Author::SYSTEM,
        until: now(),
        stage: Stage::Purging {
            event_id: event.as_str().unwrap().parse().unwrap(),
            from_seq: 1,
            visibility: Default::default(),
        },
    };
    let never_stored = going(&json!(uuid::Uuid::now_v7()));
    uploads.put(&key.key(), never_stored.encode()).await.unwrap();
    let log = &scene.world.log;
    assert_eq!(files.settle(log, key, now()).await.unwrap(), Settled::Early);
    assert_eq!(files.settle(log, key, later(5)).await.unwrap(), Settled::Kept);
    let path = link(&mut scene.visitor, &file).await.unwrap();
    assert_eq!(fetch(at, &path).await.body, PNG);
    // Any stored event serves as the one that removes it.
    uploads.put(&key.key(), going(&sent["payload"]["event_id"]).encode()).await.unwrap();
    assert_eq!(files.settle(log, key, later(5)).await.unwrap(), Settled::Removed);
    assert_eq!(fetch(at, &path).await.refused(), (404, "not_found".into()));
    emptied(&scene).await;
}

#[tokio::test]
async fn an_upload_that_nobody_sends_goes_after_an_hour_and_one_that_was_sent_stays() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let (files, log) = (files(&scene).await, scene.world.log.clone());
    let unused = uploaded(at, &id, &visitor, "a.png", PNG).await;
    let used = uploaded(at, &id, &visitor, "b.png", PNG).await;
    scene.visitor.request("send_event", file_event(&id, "v-1", &used)).await;
    assert_eq!(files.unsettled().await.unwrap(), [key(&scene, &unused)]);
    // As if its edge had died between the event and the end of the claim.
    let stage = Stage::Ready { file: serde_json::from_value::<File>(used.clone()).unwrap() };
    let author = Author::visitor(visitor_of(&scene, &id).await);
    let left = Pending { conversation_id: conversation(&id), author, until: later(60), stage };
    let uploads = Kv::open(&scene.world.bus, stream::UPLOADS).await.unwrap();
    uploads.put(&key(&scene, &used).key(), left.encode()).await.unwrap();
    for file in [&unused, &used] {
        assert_eq!(files.settle(&log, key(&scene, file), later(59)).await.unwrap(), Settled::Early);
    }
    assert_eq!(files.settle(&log, key(&scene, &unused), later(63)).await.unwrap(), Settled::Removed);
    assert_eq!(files.settle(&log, key(&scene, &used), later(63)).await.unwrap(), Settled::Kept);
    assert!(files.unsettled().await.unwrap().is_empty());
    let answer = scene.visitor.request("send_event", file_event(&id, "v-2", &unused)).await;
    assert_eq!(answer["payload"]["error"]["code"], "invalid_request", "{answer}");
    let path = link(&mut scene.staff, &used).await.unwrap();
    assert_eq!(fetch(at, &path).await.body, PNG);
}

async fn visitor_of(scene: &Scene, id: &Value) -> bus_schema::VisitorId {
    let life = ops::chat::life(&scene.world.log, scene.world.home(conversation(id))).await;
    life.unwrap().unwrap().state.visitor_id
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let body = form("a.png", "image/png", &[PNG, &vec![7; 900_000]].concat());
    let mut socket = TcpStream::connect(scene.edge.at).await.unwrap();
    let head = upload_head(&scene.id, &visitor, body.len());
    socket.write_all(format!("{head}host: test\r\n\r\n").as_bytes()).await.unwrap();
    socket.write_all(&body[..600_000]).await.unwrap();
    wait_for(SOON, "some of it to be stored", async || stored_pieces(&scene).await > 2).await;
    drop(socket);
    emptied(&scene).await;
    // What may still have been on its way is looked for once more.
    let files = files(&scene).await;
    let [key] = files.unsettled().await.unwrap()[..] else { panic!("one is left") };
    assert_eq!(files.settle(&scene.world.log, key, later(3)).await.unwrap(), Settled::Removed);
    assert!(files.unsettled().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_and_its_file_outlive_a_restart_of_the_bus() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let content = [PNG, &vec![7; 900_000]].concat();
    let body = form("a.png", "image/png", &content);
    let mut socket = TcpStream::connect(scene.edge.at).await.unwrap();
    let head = upload_head(&scene.id, &visitor, body.len());
    socket.write_all(format!("{head}host: test\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    socket.write_all(&body[..600_000]).await.unwrap();
    wait_for(SOON, "some of it to be stored", async || stored_pieces(&scene).await > 2).await;
    scene.world.nats.kill();
    socket.write_all(&body[600_000..]).await.unwrap();
    scene.world.nats.restart().await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let file: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let (at, id) = (scene.edge.at, scene.id.clone());
    wait_for(SOON, "the edge to be ready again", async || scene.edge.ctx.health.is_ready()).await;
    let (mut client, _) = Client::login(at, &visitor).await;
    let mut data = file.clone();
    data.as_object_mut().unwrap().remove("expires_at");
    let sent = client.request("send_event", file_event(&id, "v-1", &data)).await;
    assert_eq!(sent["success"], true, "{sent}");
    let path = link(&mut client, &file).await.unwrap();
    assert!(fetch(at, &path).await.body == content);
}

#[tokio::test]
async fn how_often_and_how_many_at_once_are_limited() {
    let scene = Scene::new().await;
    let Tokens { visitor, agent } = tokens(&scene).await;
    let limits = [("LIMIT_UPLOADS_PER_MINUTE_PER_PERSON", "2"), ("LIMIT_UPLOADS_AT_ONCE_PER_PERSON", "1")];
    let edge = scene.world.edge_with(&limits).await;
    let slow = form("a.png", "image/png", PNG);
    let mut socket = TcpStream::connect(edge.at).await.unwrap();
    let head = upload_head(&scene.id, &visitor, slow.len());
    socket.write_all(format!("{head}host: test\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    socket.write_all(&slow[..10]).await.unwrap();
    let files = files(&scene).await;
    wait_for(SOON, "the upload to begin", async || !files.unsettled().await.unwrap().is_empty()).await;
    let limited = (429, "rate_limited".to_owned());
    let got = upload(edge.at, &scene.id, &visitor, "b.png", PNG).await;
    assert_eq!(got.refused(), limited);
    assert!(got.head.contains("retry-after"), "{}", got.head);
    // Another person has a limit of their own.
    uploaded(edge.at, &scene.id, &agent, "b.png", PNG).await;
    socket.write_all(&slow[10..]).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    uploaded(edge.at, &scene.id, &visitor, "c.png", PNG).await;
    assert_eq!(upload(edge.at, &scene.id, &visitor, "d.png", PNG).await.refused(), limited);
}

#[tokio::test]
async fn what_belongs_to_another_tenant_is_not_there() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let file = uploaded(at, &id, &visitor, "a.png", PNG).await;
    scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    let widget_key = scene.world.neighbour().await.key;
    let body =
        scene.world.session_body([3; 32], json!({ "widget_key": widget_key, "initial_message": "Hi" }));
    let session = wait_for(SOON, "the edge to know the neighbour", async || {
        let answer = crate::http::post(at, "/v1/widget/session", &body).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    let (own, token) = (&session["conversation"]["id"], session["token"].as_str().unwrap());
    let (mut stranger, _) = Client::login(at, token).await;
    assert_eq!(link(&mut stranger, &file).await, Err("not_found".into()));
    assert_eq!(upload(at, &id, token, "a.png", PNG).await.refused(), (404, "not_found".into()));
    let answer = stranger.request("send_event", file_event(own, "x-1", &file)).await;
    assert_eq!(answer["payload"]["error"]["code"], "invalid_request", "{answer}");
    // A visitor also begins with a file.
    let fresh = scene.world.session(&scene.edge, [4; 32], json!({})).await;
    let id = json!(bus_schema::ConversationId::of(
        scene.world.tenant,
        fresh["visitor"]["id"].as_str().unwrap().parse().unwrap()
    ));
    let token = fresh["token"].as_str().unwrap();
    let first = uploaded(at, &id, token, "a.png", PNG).await;
    let (mut fresh, _) = Client::login(at, token).await;
    let event = file_event(&id, "f-1", &first)["event"].clone();
    let begun = fresh.request("start_thread", json!({ "initial_event": event })).await;
    assert_eq!(begun["success"], true, "{begun}");
    let path = link(&mut fresh, &first).await.unwrap();
    assert_eq!(fetch(at, &path).await.body, PNG);
}
