//! Files: uploaded over HTTP, named by an event, fetched by a link.

use std::{net::SocketAddr, time::Duration};

use bus_schema::claims::Role;
use ops::testing::{S3Server, wait_for};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{client::Client, openapi, signals::Scene, world::Edge};

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0";

const SOON: Duration = Duration::from_secs(20);

pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem.
    pub fn refused(&self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// Sends a head and whatever there is of a body, and reads the answer to its end.
pub async fn exchange(to: SocketAddr, asked: &str, body: &[u8]) -> Got {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(format!("{asked}host: test\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    // A server that has refused already may not read on.
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let got = Got { status, head: head.to_lowercase(), body: answer[end + 4..].to_vec() };
    let mut asked = asked.split(' ');
    if let (Some(method), Some(path)) = (asked.next(), asked.next()) {
        openapi::held(method, path, got.status, &got.head, &got.json());
    }
    got
}

pub fn form(name: &str, declared: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: {declared}\r\n\r\n"
    );
    [head.as_bytes(), bytes, b"\r\n--XX--\r\n"].concat()
}

pub fn upload_head(conversation: &Value, token: &str, length: usize) -> String {
    format!(
        "POST /v1/conversations/{}/attachments HTTP/1.1\r\nauthorization: Bearer {token}\r\n\
         content-type: multipart/form-data; boundary=XX\r\ncontent-length: {length}\r\n",
        conversation.as_str().unwrap()
    )
}

pub async fn upload(to: SocketAddr, conversation: &Value, token: &str, name: &str, bytes: &[u8]) -> Got {
    let body = form(name, "image/png", bytes);
    exchange(to, &upload_head(conversation, token, body.len()), &body).await
}

/// The answer to a good upload, without what no event says.
pub async fn uploaded(to: SocketAddr, conversation: &Value, token: &str, name: &str, bytes: &[u8]) -> Value {
    let got = upload(to, conversation, token, name, bytes).await;
    assert_eq!(got.status, 201, "{} {:?}", got.head, String::from_utf8_lossy(&got.body));
    let mut file = got.json();
    assert!(file.as_object_mut().unwrap().remove("expires_at").is_some());
    file
}

pub fn file_event(conversation: &Value, client_id: &str, file: &Value) -> Value {
    json!({
        "conversation_id": conversation,
        "event": { "kind": "file", "client_id": client_id, "data": file },
    })
}

fn code(answer: &Value) -> &str {
    answer["payload"]["error"]["code"].as_str().unwrap_or("none")
}

/// The path of a link that this client gets.
pub async fn link(client: &mut Client, file: &Value) -> Result<String, String> {
    let answer = client.request("get_attachment", json!({ "attachment_id": file["attachment_id"] })).await;
    if answer["success"] != true {
        return Err(code(&answer).to_owned());
    }
    let url = answer["payload"]["url"].as_str().unwrap();
    assert!(answer["payload"]["expires_at"].is_string());
    Ok(url[url.find("/v1/").unwrap()..].to_owned())
}

pub async fn fetch(to: SocketAddr, path: &str) -> Got {
    exchange(to, &format!("GET {path} HTTP/1.1\r\n"), b"").await
}

/// Messages of the bus's object store.
pub async fn stored_pieces(scene: &Scene) -> u64 {
    let context = async_nats::jetstream::new(scene.world.bus.client.clone());
    let store = context.get_stream("OBJ_attachments").await.unwrap();
    store.cached_info().state.messages
}

pub struct Tokens {
    pub visitor: String,
    pub agent: String,
}

pub async fn tokens(scene: &Scene) -> Tokens {
    let session = scene.world.session(&scene.edge, [1; 32], json!({})).await;
    let agent = scene.world.staff_token(scene.world.agents[0], Role::Agent);
    Tokens { visitor: session["token"].as_str().unwrap().to_owned(), agent }
}

#[tokio::test]
async fn a_file_goes_from_visitor_to_agent_and_back_over_any_edge() {
    let mut scene = Scene::new().await;
    let other = scene.world.edge().await;
    goes_both_ways(&mut scene, &other).await;
    assert!(stored_pieces(&scene).await > 0, "the bus keeps them");
}

#[tokio::test]
async fn a_file_in_a_bucket_goes_the_same_ways_and_leaves_nothing_on_the_bus() {
    let s3 = S3Server::start().await;
    let settings = [
        ("FILES_S3_BUCKET", S3Server::BUCKET),
        ("FILES_S3_ENDPOINT", s3.endpoint()),
        ("FILES_S3_ACCESS_KEY", "test"),
        ("FILES_S3_SECRET_KEY", "test"),
    ];
    let mut scene = Scene::with(&settings).await;
    let other = scene.world.edge_with(&settings).await;
    goes_both_ways(&mut scene, &other).await;

    // Of more than one part, and then removed.
    let (at, id) = (scene.edge.at, scene.id.clone());
    let large = [PNG, &vec![9; 6 << 20]].concat();
    let file = uploaded(at, &id, &tokens(&scene).await.visitor, "b.png", &large).await;
    let sent = scene.visitor.request("send_event", file_event(&id, "v-9", &file)).await;
    let path = link(&mut scene.staff, &file).await.unwrap();
    assert!(fetch(other.at, &path).await.body == large);
    let token = scene.world.staff_token(scene.world.agents[1], Role::Supervisor);
    let (mut supervisor, _) = Client::login(other.at, &token).await;
    let purge = json!({ "target_id": sent["payload"]["event_id"], "purge": true });
    let event = json!({ "kind": "message_deleted", "client_id": "s-9", "data": purge });
    let answer = supervisor.request("send_event", json!({ "conversation_id": id, "event": event })).await;
    assert_eq!(answer["success"], true, "{answer}");
    wait_for(SOON, "the bytes to be gone", async || fetch(at, &path).await.status == 404).await;
    assert_eq!(stored_pieces(&scene).await, 0);
}

async fn goes_both_ways(scene: &mut Scene, other: &Edge) {
    let Tokens { visitor, agent } = tokens(scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    // More than one piece in the store, and none of a round size.
    let large = [PNG, &vec![7; 700_001]].concat();
    let file = uploaded(at, &id, &visitor, "../tür.png", &large).await;
    assert_eq!(
        (&file["name"], &file["content_type"], &file["size"], &file["width"], &file["height"]),
        (&json!("tür.png"), &json!("image/png"), &json!(large.len()), &json!(3), &json!(2))
    );
    assert_eq!(link(&mut scene.staff, &file).await, Err("not_found".into()), "nothing names it yet");
    let sent = scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    assert_eq!(sent["success"], true, "{sent}");
    for client in [&mut scene.staff, &mut scene.tab, &mut scene.visitor] {
        assert_eq!(client.event("file").await["event"]["data"], file);
        let path = link(client, &file).await.unwrap();
        for edge in [at, other.at] {
            let got = fetch(edge, &path).await;
            assert_eq!(got.status, 200);
            assert!(got.body == large, "{} bytes", got.body.len());
            for header in [
                "content-type: image/png",
                "content-disposition: attachment; filename=\"t_r.png\"; filename*=utf-8''t%c3%bcr.png",
                "x-content-type-options: nosniff",
                "content-security-policy: sandbox",
                &format!("content-length: {}", large.len()),
            ] {
                assert!(got.head.contains(header), "{header} in {}", got.head);
            }
        }
    }
    // The same send again is the same event; another one with the same file is none.
    let again = scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    assert_eq!(again["payload"]["event_id"], sent["payload"]["event_id"]);
    assert_eq!(again["payload"]["seq"], sent["payload"]["seq"]);
    let twice = scene.visitor.request("send_event", file_event(&id, "v-2", &file)).await;
    assert_eq!(code(&twice), "conflict");
    // And the other way, uploaded at one edge and sent at the other.
    let back = uploaded(other.at, &id, &agent, "a.pdf", b"%PDF-1.7\n").await;
    assert_eq!(back["content_type"], "application/pdf");
    let sent = scene.staff.request("send_event", file_event(&id, "a-1", &back)).await;
    assert_eq!(sent["success"], true, "{sent}");
    let path = link(&mut scene.visitor, &back).await.unwrap();
    assert_eq!(fetch(other.at, &path).await.body, b"%PDF-1.7\n");
}

#[tokio::test]
async fn a_file_is_sent_only_by_whoever_uploaded_it_for_that_conversation() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, agent } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let other = scene.world.session(&scene.edge, [2; 32], json!({ "initial_message": "Hi" })).await;
    let (other_id, other_token) = (&other["conversation"]["id"], other["token"].as_str().unwrap());
    // Nobody uploads for a conversation that is none of theirs.
    assert_eq!(upload(at, other_id, &visitor, "a.png", PNG).await.refused(), (404, "not_found".into()));
    let nothing = json!(uuid::Uuid::now_v7());
    assert_eq!(upload(at, &nothing, &agent, "a.png", PNG).await.refused(), (404, "not_found".into()));
    assert_eq!(upload(at, &id, "no.such.token", "a.png", PNG).await.refused().0, 401);
    let file = uploaded(at, &id, &visitor, "a.png", PNG).await;
    let (mut stranger, _) = Client::login(at, other_token).await;
    for (client, conversation) in [(&mut stranger, other_id), (&mut scene.staff, &id)] {
        let answer = client.request("send_event", file_event(conversation, "x-1", &file)).await;
        assert_eq!(code(&answer), "invalid_request", "{answer}");
        assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], "/payload/event/data/attachment_id");
    }
    scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    assert_eq!(link(&mut stranger, &file).await, Err("not_found".into()));
    let answer = stranger.request("send_event", file_event(other_id, "x-2", &file)).await;
    assert_eq!(code(&answer), "invalid_request", "that it was sent is not theirs to know");
    // What an event says of a file is what was found in it.
    let second = uploaded(at, &id, &visitor, "b.png", b"just words").await;
    assert_eq!(second["content_type"], "text/plain");
    let mut lie = second.clone();
    lie["content_type"] = json!("text/html");
    lie["size"] = json!(1);
    scene.visitor.request("send_event", file_event(&id, "v-2", &lie)).await;
    scene.staff.event("file").await;
    assert_eq!(scene.staff.event("file").await["event"]["data"], second);
}

#[tokio::test]
async fn a_file_in_a_note_stays_with_staff() {
    let mut scene = Scene::new().await;
    let Tokens { agent, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let file = uploaded(at, &id, &agent, "a.png", PNG).await;
    let mut note = file_event(&id, "a-1", &file);
    note["event"]["visibility"] = json!("agents");
    let sent = scene.staff.request("send_event", note).await;
    assert_eq!(sent["success"], true, "{sent}");
    assert_eq!(link(&mut scene.visitor, &file).await, Err("not_found".into()));
    let path = link(&mut scene.staff, &file).await.unwrap();
    assert_eq!(fetch(at, &path).await.body, PNG);
    assert!(scene.visitor.seen().all(|frame| !frame.to_string().contains("a.png")));
}

#[tokio::test]
async fn what_is_too_large_or_can_run_is_refused() {
    let scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (world, id) = (&scene.world, &scene.id);
    let edge = world.edge_with(&[("LIMIT_FILE_BYTES", "100000")]).await;
    // Announced: refused before anything of it is read.
    let head = upload_head(id, &visitor, 200_000);
    assert_eq!(exchange(edge.at, &head, b"").await.refused(), (413, "too_large".into()));
    // Not announced: refused as soon as it shows, though the form never ends.
    let head = head.replace("content-length: 200000", "transfer-encoding: chunked");
    let part = form("a.png", "image/png", &[PNG, &vec![0; 110_000]].concat());
    let part = &part[..part.len() - 10];
    let body = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    assert_eq!(exchange(edge.at, &head, &body).await.refused(), (413, "too_large".into()));
    for (name, bytes) in [
        ("a.png", &b"MZ\x90\0\x03"[..]),
        ("a.png", b"<svg onload='alert(1)'/>"),
        ("a.txt", b"#!/bin/sh\n"),
        ("a.js", b"alert(1)"),
    ] {
        let got = upload(edge.at, id, &visitor, name, bytes).await;
        assert_eq!(got.refused(), (415, "unsupported_media_type".into()), "{name}");
    }
    let refused =
        async |body: &[u8]| exchange(edge.at, &upload_head(id, &visitor, body.len()), body).await.refused();
    let bad = (400, "invalid_request".to_owned());
    assert_eq!(
        refused(b"--XX\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\nx\r\n--XX--").await,
        bad
    );
    let two =
        [&form("a", "a/b", PNG)[..form("a", "a/b", PNG).len() - 4], &form("b", "a/b", PNG)[2..]].concat();
    assert_eq!(refused(&two).await, bad);
    assert_eq!(refused(&form("a", "a/b", b"")).await, (422, "invalid_request".into()));
    let json = upload_head(id, &visitor, 2).replace("multipart/form-data; boundary=XX", "application/json");
    assert_eq!(exchange(edge.at, &json, b"{}").await.refused().0, 415);
    // Nothing of all that is left to be sent, nor does any byte of it stay.
    emptied(&scene).await;
}

/// Waits until the store of files holds nothing.
pub async fn emptied(scene: &Scene) {
    let context = async_nats::jetstream::new(scene.world.bus.client.clone());
    ops::testing::wait_for(std::time::Duration::from_secs(20), "no byte to be left", async || {
        let mut store = context.get_stream("OBJ_attachments").await.unwrap();
        store.info().await.unwrap().state.messages == 0
    })
    .await;
}

#[tokio::test]
async fn links_end_and_cannot_be_made_up() {
    let mut scene = Scene::new().await;
    let Tokens { visitor, .. } = tokens(&scene).await;
    let (at, id) = (scene.edge.at, scene.id.clone());
    let file = uploaded(at, &id, &visitor, "a.png", PNG).await;
    scene.visitor.request("send_event", file_event(&id, "v-1", &file)).await;
    let path = link(&mut scene.visitor, &file).await.unwrap();
    let expires = path.split("expires=").nth(1).unwrap().split('&').next().unwrap();
    let bare = path.split('?').next().unwrap();
    let other = path.replacen("/v1/attachments/0", "/v1/attachments/1", 1);
    for forged in [bare, &path.replace(expires, "99999999999999"), &path[..path.len() - 2], &other] {
        assert_eq!(fetch(at, forged).await.refused(), (403, "forbidden".into()), "{forged}");
    }
}
