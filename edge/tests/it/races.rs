//! `one-thread` and `closed-is-closed`, raced for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus_schema::{Audience, ConversationId, Event, event::Kind, state::ThreadStatus};
use ops::testing::long;
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    http,
    world::World,
};

async fn events(world: &World, conversation: ConversationId) -> Vec<(u64, Event)> {
    let filter = world.home(conversation).stored(Audience::Staff);
    let read = world.log.read(&filter, 1, 100_000).await.unwrap();
    read.into_iter().map(|message| (message.seq, Event::decode(&message.payload).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thread_whatever_races_to_open_it() {
    let world = Arc::new(World::new().await);
    let edges = Arc::new([world.edge().await, world.edge().await]);
    let visitors: u8 = if long() { 100 } else { 10 };
    for visitor in 0..visitors {
        let mut racers = Vec::new();
        for n in 0..20 {
            let (world, edges) = (world.clone(), edges.clone());
            racers.push(tokio::spawn(async move {
                let edge = &edges[n % 2];
                let first = json!({ "initial_message": "Hello", "initial_client_id": "first" });
                if n < 10 {
                    let body = world.session_body([visitor; 32], first);
                    let answer = http::post(edge.at, "/v1/widget/session", &body).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    return answer.body["conversation"]["id"].clone();
                }
                let session = world.session(edge, [visitor; 32], json!({})).await;
                let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
                let event = json!({ "kind": "message", "client_id": "first", "data": { "text": "Hello" } });
                let answer = client.request("start_thread", json!({ "initial_event": event })).await;
                assert_eq!(answer["success"], true, "{answer}");
                answer["payload"]["id"].clone()
            }));
        }
        let mut conversations: Vec<Value> = Vec::new();
        for racer in racers {
            conversations.push(racer.await.unwrap());
        }
        conversations.dedup();
        assert_eq!(conversations.len(), 1, "one conversation");
        let id = conversations[0].as_str().unwrap().parse().unwrap();
        let events = events(&world, id).await;
        let count = |kind: Kind| events.iter().filter(|(_, event)| event.body.kind() == Some(kind)).count();
        assert_eq!(
            (count(Kind::Started), count(Kind::Message)),
            (1, 1),
            "one thread, the first message once"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_after_a_close_and_every_refused_sender_was_told() {
    let world = Arc::new(World::new().await);
    let edges = [world.edge().await, world.edge().await];
    let closes: u16 = if long() { 500 } else { 60 };
    let mut refused = 0_u64;
    for n in 0..closes {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        let session = world.session(&edges[0], key, json!({ "initial_message": "Hello" })).await;
        let conversation = session["conversation"]["id"].clone();
        let id: ConversationId = conversation.as_str().unwrap().parse().unwrap();
        let token = session["token"].as_str().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for (w, edge) in edges.iter().enumerate() {
            let (mut client, _) = Client::login(edge.at, token).await;
            let (conversation, over) = (conversation.clone(), over.clone());
            writers.push(tokio::spawn(async move {
                let (mut acked, mut refused) = (BTreeMap::new(), 0_u64);
                for m in 0.. {
                    let client_id = format!("w{w}-{m}");
                    let closing = over.load(Ordering::Relaxed);
                    let answer = client.request("send_event", message(&conversation, &client_id, "x")).await;
                    if answer["success"] == true {
                        acked.insert(client_id, answer["payload"]["seq"].as_u64().unwrap());
                    } else if answer["payload"]["error"]["code"] == "rate_limited" {
                        let after_ms = answer["payload"]["error"]["after_ms"].as_u64().unwrap();
                        tokio::time::sleep(Duration::from_millis(after_ms)).await;
                        continue;
                    } else {
                        assert_eq!(answer["payload"]["error"]["code"], "thread_closed", "{answer}");
                        refused += 1;
                    }
                    if closing {
                        break;
                    }
                }
                (acked, refused)
            }));
        }
        let closed = world.close(id).await;
        over.store(true, Ordering::Relaxed);
        let mut acked = BTreeMap::new();
        for writer in writers {
            let (stored, told) = writer.await.unwrap();
            acked.extend(stored);
            refused += told;
        }
        let events = events(&world, id).await;
        let said = events.iter().filter(|(_, event)| event.body.kind() == Some(Kind::Message));
        let said: Vec<_> = said.filter(|(_, event)| event.client_id.is_some()).collect();
        assert!(said.iter().all(|(seq, _)| *seq < closed), "nothing follows the close");
        for (client_id, seq) in &acked {
            let copies = said
                .iter()
                .filter(|(_, event)| event.client_id.as_ref().is_some_and(|id| id.as_str() == client_id));
            assert_eq!(copies.map(|(seq, _)| *seq).collect::<Vec<_>>(), [*seq], "acked is stored, once");
        }
        let state = events.iter().rev().find_map(|(_, event)| event.body.life_state().cloned()).unwrap();
        assert_eq!(state.status, ThreadStatus::Closed);
    }
    assert!(refused >= u64::from(closes), "each close refused a sender: {refused}");
}
