//! After a cut a client has everything, or is told `reset`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{Audience, ConversationId};
use serde_json::{Value, json};

use crate::{
    client::{Client, Got, message},
    world::World,
};

async fn logged_slice(world: &World, conversation: &Value) -> Vec<u64> {
    let id: ConversationId = conversation.as_str().unwrap().parse().unwrap();
    let filter = world.home(id).stored(Audience::All);
    let read = world.log.read(&filter, 1, 10_000).await.unwrap();
    read.into_iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn what_was_missed_comes_as_pushes_then_caught_up_on_any_edge() {
    let world = World::new().await;
    let (one, two) = (world.edge().await, world.edge().await);
    let session = world.session(&one, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let conversation = session["conversation"]["id"].clone();
    let (mut writer, _) = Client::login(one.at, token).await;
    let (mut reader, login) = Client::login(two.at, token).await;
    let mut seqs: Vec<u64> = login["conversations"][0]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    let mut cursor = login["conversations"][0]["cursor"].clone();
    for round in 0..5 {
        for n in 0..10 {
            let client_id = format!("m-{round}-{n}");
            let answer = writer.request("send_event", message(&conversation, &client_id, "x")).await;
            assert_eq!(answer["success"], true, "{answer}");
            // The reader reads some of it, and is cut off.
            if n < 3 {
                let push = reader.event("message").await;
                seqs.push(push["event"]["seq"].as_u64().unwrap());
                cursor = push["cursor"].clone();
            }
        }
        drop(reader);
        let edge = if round % 2 == 0 { &one } else { &two };
        let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
        let (again, login) = Client::login_with(edge.at, token, resume).await;
        reader = again;
        assert_eq!(login["conversations"][0].get("events"), None, "missed events follow as pushes");
        assert_eq!(login["conversations"][0].get("cursor"), None);
        loop {
            match reader.read().await {
                Got::Frame(frame) if frame["action"] == "event" => {
                    seqs.push(frame["payload"]["event"]["seq"].as_u64().unwrap());
                }
                Got::Frame(frame) if frame["action"] == "caught_up" => {
                    cursor = frame["payload"]["cursor"].clone();
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seqs, logged_slice(&world, &conversation).await, "round {round}");
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_is_reset_with_its_reason() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mine = world.session(&edge, [1; 32], json!({ "initial_message": "Mine" })).await;
    let other = world.session(&edge, [2; 32], json!({ "initial_message": "Other" })).await;
    let conversation = mine["conversation"]["id"].clone();
    let own = mine["conversation"]["cursor"].as_str().unwrap().to_owned();
    let foreign = other["conversation"]["cursor"].as_str().unwrap().to_owned();
    let mut bent = URL_SAFE_NO_PAD.decode(&own).unwrap();
    bent[40] ^= 1;
    let cases = [
        (foreign, "principal"),
        (URL_SAFE_NO_PAD.encode(bent), "mangled"),
        ("nonsense".to_owned(), "mangled"),
        (String::new(), "mangled"),
    ];
    for (cursor, reason) in cases {
        let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
        let (mut client, _) = Client::login_with(edge.at, mine["token"].as_str().unwrap(), resume).await;
        let reset = client.push("reset").await;
        assert_eq!(reset["reason"], reason, "{reset}");
        assert_eq!(reset["conversation"]["events"][1]["data"]["text"], "Mine");
        let answer = client.request("send_event", message(&conversation, "again", "Go on")).await;
        assert_eq!(answer["success"], true, "{answer}");
        client.raw(&crate::client::frame(0x88, &[])).await;
        client.closed().await;
    }
    let stranger = json!({ "resume": [{ "conversation_id": other["conversation"]["id"], "cursor": own }] });
    let (mut client, login) = Client::login_with(edge.at, mine["token"].as_str().unwrap(), stranger).await;
    assert_eq!(login["conversations"].as_array().unwrap().len(), 1);
    let removed = client.push("conversation_removed").await;
    assert_eq!(removed["conversation_id"], other["conversation"]["id"]);
}

#[tokio::test]
async fn a_bus_that_dies_and_comes_back_leaves_no_hole() {
    let mut world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap().to_owned();
    let conversation = session["conversation"]["id"].clone();
    let (mut writer, _) = Client::login(edge.at, &token).await;
    let (mut reader, _) = Client::login(edge.at, &token).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        world.nats.kill();
        // Asked while the bus is away: answered when it is back, or refused as to be tried again.
        let id = writer.send("send_event", message(&conversation, &format!("r-{round}"), "x")).await;
        world.nats.restart().await;
        let mut answer = writer.answer(&id).await;
        while answer["success"] != true {
            assert_eq!(answer["payload"]["error"]["retryable"], true, "{answer}");
            let mut again = message(&conversation, &format!("r-{round}"), "x");
            again["retry"] = json!(true);
            answer = writer.request("send_event", again).await;
        }
        expected.push(answer["payload"]["seq"].clone());
    }
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.push(reader.event("message").await["event"]["seq"].clone());
    }
    assert_eq!(got, expected);
}
