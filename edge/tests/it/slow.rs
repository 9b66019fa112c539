//! A client that does not read is closed, resumes, and has lost nothing.

use serde_json::{Value, json};

use crate::{
    client::{Client, Got, message},
    world::World,
};

#[tokio::test]
async fn a_slow_reader_is_closed_with_3001_and_resumes_without_loss() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_OUTBOX_BYTES", "65536")]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let conversation = session["conversation"]["id"].clone();
    let (mut writer, _) = Client::login(edge.at, token).await;
    let (mut stalled, login) = Client::login(edge.at, token).await;
    let mut cursor = login["conversations"][0]["cursor"].clone();
    let text = "x".repeat(15_000);
    let mut sent = Vec::new();
    // More than the kernel's buffers and the outbox hold together.
    for n in 0..900 {
        let answer = writer.request("send_event", message(&conversation, &format!("m-{n}"), &text)).await;
        assert_eq!(answer["success"], true, "{answer}");
        sent.push(answer["payload"]["seq"].as_u64().unwrap());
        writer.event("message").await;
    }
    let mut seen = Vec::new();
    let end = loop {
        match stalled.read().await {
            Got::Frame(frame) if frame["action"] == "event" => {
                seen.push(frame["payload"]["event"]["seq"].as_u64().unwrap());
                cursor = frame["payload"]["cursor"].clone();
            }
            Got::Frame(_) => {}
            end => break end,
        }
    };
    // Cut off in the middle of a frame when even the close found no room.
    assert!(matches!(end, Got::Closed(3001) | Got::Gone), "{end:?}");
    assert!(seen.len() < sent.len());
    let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
    let (mut again, _) = Client::login_with(edge.at, token, resume).await;
    // It missed megabytes: told so, with the latest events, the rest by pages.
    let reset = again.push("reset").await;
    assert_eq!(reset["reason"], "too_much");
    let mut missed = seqs(&reset["conversation"]["events"]);
    while missed[0] > seen[seen.len() - 1] {
        let page = json!({ "conversation_id": conversation, "before_seq": missed[0], "limit": 200 });
        let page = again.request("list_events", page).await;
        missed.splice(0..0, seqs(&page["payload"]["events"]));
    }
    missed.retain(|seq| *seq > seen[seen.len() - 1]);
    seen.extend(missed);
    assert_eq!(seen, sent);
}

fn seqs(events: &Value) -> Vec<u64> {
    events.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}
