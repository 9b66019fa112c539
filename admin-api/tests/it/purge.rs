//! A supervisor removes the bytes of a file over HTTP.

use bus_schema::Visibility;
use ops::testing::wait_for;
use serde_json::{Value, json};

use crate::{
    erasure::{SOON, Scene},
    world::{BusServer, Got, Person},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_removes_the_bytes_of_a_file_and_of_nothing_else() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, files, log, .. } = &scene;
    let chat = scene.chat().await;
    let (file, kept) = (scene.file(&chat, Visibility::All).await, scene.file(&chat, Visibility::All).await);
    let sue = world.agent(admin, "sue", "supervisor").await;
    let bob = world.agent(admin, "bob", "agent").await;
    let member = json!({ "group_ids": [scene.group] });
    world.patch(admin, &format!("/v1/agents/{}", bob.id), member).await.is(200);
    let end = log.end().await.unwrap().last;
    let events = format!("/v1/conversations/{}/events?min_seq={end}", chat.id());
    let events = world.get(&bob, &events).await.is(200).body;
    let find = |which: &dyn Fn(&Value) -> bool| {
        let event = events["data"].as_array().unwrap().iter().find(|event| which(event)).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    let text = find(&|event| event["kind"] == "message");
    let sent = find(&|event| event["data"]["attachment_id"] == file.attachment.to_string());
    let delete = async |who: &Person, id: &str, query: &str| -> Got {
        world.delete(who, &format!("/v1/events/{id}{query}")).await
    };
    delete(&bob, &sent, "?purge=true").await.problem(403, "forbidden");
    delete(&sue, &text, "?purge=true").await.problem(409, "conflict");
    delete(&sue, &sent, "?purge=maybe").await.problem(400, "invalid_request");
    // Hidden first: the bytes are there until somebody removes them.
    delete(&sue, &sent, "").await.is(200);
    assert!(files.record(file).await.unwrap().is_some());
    delete(&sue, &sent, "?purge=true").await.is(200);
    wait_for(SOON, "the bytes to be gone", async || files.record(file).await.unwrap().is_none()).await;
    assert!(files.unsettled().await.unwrap().is_empty());
    assert!(files.record(kept).await.unwrap().is_some(), "another's file stays");
}
