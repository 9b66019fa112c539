//! After a cut a client has everything, or is told `reset`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{Audience, ConversationId, stream};
use ops::log::raise_horizon;
use serde_json::{Value, json};

use crate::{
    client::{Client, Got, message},
    world::{Edge, World},
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

/// A visitor's conversation after some talk, and a cursor at its end.
struct Talked {
    token: String,
    conversation: Value,
    cursor: String,
}

impl Talked {
    async fn new(world: &World, edge: &Edge) -> Self {
        let session = world.session(edge, [1; 32], json!({ "initial_message": "Hello" })).await;
        let (token, conversation) =
            (session["token"].as_str().unwrap().to_owned(), session["conversation"]["id"].clone());
        let (mut client, _) = Client::login(edge.at, &token).await;
        let mut cursor = Value::Null;
        for n in 0..5 {
            client.stored(message(&conversation, &format!("m-{n}"), &format!("Word {n}"))).await;
            cursor = client.event("message").await["cursor"].clone();
        }
        Self { token, conversation, cursor: cursor.as_str().unwrap().to_owned() }
    }

    /// Resumes, is told `reset` for this reason with the conversation as it is, and goes on from there.
    async fn reset(&self, world: &World, edge: &Edge, reason: &str) -> Client {
        let resume = json!({ "resume": [{ "conversation_id": self.conversation, "cursor": self.cursor }] });
        let (mut client, _) = Client::login_with(edge.at, &self.token, resume).await;
        let reset = client.push("reset").await;
        assert_eq!((&reset["reason"], &reset["conversation_id"]), (&json!(reason), &self.conversation));
        let shown: Vec<u64> = reset["conversation"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        let mut wanted = logged_slice(world, &self.conversation).await;
        assert_eq!(shown, wanted, "the snapshot that comes with it is whole");
        let sent = client.stored(message(&self.conversation, "on", "Go on")).await;
        let pushed = client.event("message").await;
        assert_eq!(pushed["event"]["seq"], sent["payload"]["seq"]);
        // The cursors since then count.
        let resume =
            json!({ "resume": [{ "conversation_id": self.conversation, "cursor": pushed["cursor"] }] });
        let (mut again, _) = Client::login_with(edge.at, &self.token, resume).await;
        again.push("caught_up").await;
        wanted.push(sent["payload"]["seq"].as_u64().unwrap());
        assert_eq!(logged_slice(world, &self.conversation).await, wanted);
        client
    }
}

#[tokio::test]
async fn a_cursor_of_another_log_is_reset_as_of_another_epoch() {
    let world = World::new().await;
    let edge = world.edge().await;
    let before = Talked::new(&world, &edge).await;
    edge.stop().await;
    let context = async_nats::jetstream::new(world.bus.client.clone());
    context.delete_stream(stream::log_name(world.log.shard())).await.unwrap();
    world.provision().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello again" })).await;
    assert_eq!(session["conversation"]["id"], before.conversation);
    before.reset(&world, &edge, "epoch").await;
}

#[tokio::test]
async fn a_cursor_beyond_the_end_of_a_log_that_was_put_back_is_reset_as_ahead() {
    let world = World::new().await;
    let edge = world.edge().await;
    let before = Talked::new(&world, &edge).await;
    edge.stop().await;
    // An older copy of the same log: its name, its epoch, and less in it.
    let context = async_nats::jetstream::new(world.bus.client.clone());
    let name = stream::log_name(world.log.shard());
    let config = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    context.delete_stream(&name).await.unwrap();
    context.create_stream(config).await.unwrap();
    let edge = world.edge().await;
    world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    before.reset(&world, &edge, "ahead").await;
}

#[tokio::test]
async fn a_cursor_below_the_horizon_is_reset_as_too_old() {
    let world = World::new().await;
    let edge = world.edge().await;
    let before = Talked::new(&world, &edge).await;
    // What was said since is whole, and begins a thread of its own.
    world.close(before.conversation.as_str().unwrap().parse().unwrap()).await;
    let end = world.log.end().await.unwrap().last;
    raise_horizon(&world.bus, world.log.shard(), end + 1).await.unwrap();
    world.session(&edge, [1; 32], json!({ "initial_message": "Me again" })).await;
    let resume = json!({ "resume": [{ "conversation_id": before.conversation, "cursor": before.cursor }] });
    let (mut client, _) = Client::login_with(edge.at, &before.token, resume).await;
    let reset = client.push("reset").await;
    assert_eq!(reset["reason"], "too_old", "{reset}");
    let events = reset["conversation"]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["data"]["text"], "Me again");
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
