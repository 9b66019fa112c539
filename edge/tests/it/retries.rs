//! One event for each `client_id`, for ever: also where the server has forgotten that it was sent.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{Audience, Event, claims::Role, event::Kind, stream};
use futures::future::join_all;
use ops::testing::long;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::sleep_until;

use crate::{
    client::{Client, message},
    signals::{Scene, conversation},
    world::World,
};

/// How long the server remembers what it has stored.
pub const WINDOW: Duration = Duration::from_secs(1);

/// How much is sent, and within what time it is repeated.
struct Size {
    conversations: u8,
    sends: usize,
    within: Duration,
}

fn size() -> Size {
    match long() {
        true => Size { conversations: 100, sends: 100, within: Duration::from_secs(60) },
        false => Size { conversations: 10, sends: 30, within: Duration::from_secs(5) },
    }
}

pub async fn shorten_the_window(world: &World) {
    let context = async_nats::jetstream::new(world.bus.client.clone());
    let log = context.get_stream(stream::log_name(bus_schema::Shard(0))).await.unwrap();
    let config = async_nats::jetstream::stream::Config {
        duplicate_window: WINDOW,
        ..log.cached_info().config.clone()
    };
    context.update_stream(config).await.unwrap();
}

/// Sends everything, and everything again after a while of its own; gives the sequences that the answers told.
async fn talk(
    edges: [std::net::SocketAddr; 2],
    token: String,
    id: Value,
    sends: usize,
    within: Duration,
    seed: u64,
) -> HashMap<String, Vec<u64>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut clients = Vec::new();
    for edge in edges {
        clients.push(Client::login(edge, &token).await.0);
    }
    let mut told: HashMap<String, Vec<u64>> = HashMap::new();
    let mut again = Vec::new();
    for n in 0..sends {
        let name = format!("m-{n}");
        let first = rng.random_range(0..2);
        let answer = clients[first].stored(message(&id, &name, "x")).await;
        told.entry(name.clone()).or_default().push(answer["payload"]["seq"].as_u64().unwrap());
        // By either edge.
        let due = Instant::now() + within.mul_f64(rng.random_range(0.0..1.0));
        again.push((due, name, rng.random_range(0..2)));
    }
    again.sort();
    for (due, name, edge) in again {
        sleep_until(due.into()).await;
        let mut send = message(&id, &name, "x");
        send["retry"] = json!(true);
        let answer = clients[edge].stored(send).await;
        assert_eq!(answer["payload"]["duplicate"], true, "{answer}");
        told.entry(name).or_default().push(answer["payload"]["seq"].as_u64().unwrap());
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_after_the_server_forgot_it_is_not_seen_twice() {
    let Size { conversations, sends, within } = size();
    let world = Arc::new(World::new().await);
    let edges = [world.edge().await, world.edge().await];
    shorten_the_window(&world).await;
    let at = [edges[0].at, edges[1].at];
    let mut talks = Vec::new();
    for key in 0..conversations {
        let session = world.session(&edges[0], [key; 32], json!({ "initial_message": "Hello" })).await;
        let (token, id) =
            (session["token"].as_str().unwrap().to_owned(), session["conversation"]["id"].clone());
        talks.push((id.clone(), tokio::spawn(talk(at, token, id, sends, within, key.into()))));
    }
    let (ids, talks): (Vec<_>, Vec<_>) = talks.into_iter().unzip();
    let told = join_all(talks).await;
    let mut repeated = 0;
    for (id, told) in ids.iter().zip(told) {
        let told = told.unwrap();
        let filter = world.home(conversation(id)).stored(Audience::All);
        let mut stored: HashMap<String, Vec<u64>> = HashMap::new();
        for message in world.log.read(&filter, 1, 100_000).await.unwrap() {
            let event = Event::decode(&message.payload).unwrap();
            if let (Some(Kind::Message), Some(name)) = (event.body.kind(), event.client_id) {
                stored.entry(name.as_str().to_owned()).or_default().push(message.seq);
            }
        }
        for (name, seqs) in told {
            assert_eq!(stored[&name].len(), 1, "{name} is stored once");
            assert!(seqs.iter().all(|seq| *seq == stored[&name][0]), "{name} is told to be where it is");
            repeated += seqs.len() - 1;
        }
    }
    assert_eq!(repeated, usize::from(conversations) * sends);
    println!(
        "{repeated} sends repeated after 0 to {within:?}, a duplicate window of {WINDOW:?}: none stored twice"
    );
}

/// Where the log has a message, and how often.
async fn copies(world: &World, id: &Value, name: &str) -> Vec<u64> {
    let filter = world.home(conversation(id)).stored(Audience::Staff);
    let read = world.log.read(&filter, 1, 10_000).await.unwrap();
    let is_it = |event: &Event| event.client_id.as_ref().is_some_and(|id| id.as_str() == name);
    let all = read.into_iter().filter(|message| is_it(&Event::decode(&message.payload).unwrap()));
    all.map(|message| message.seq).collect()
}

#[tokio::test]
async fn what_is_sent_again_in_a_later_thread_is_told_to_be_where_it_is() {
    let Scene { world, edge, id, mut visitor, staff: mut agent, .. } = Scene::new().await;
    let other = world.edge().await;
    shorten_the_window(&world).await;
    let mut note = message(&id, "n-1", "Between us");
    note["event"]["visibility"] = json!("agents");
    let thread = json!(world.view(conversation(&id)).await.thread.id);
    let said = visitor.stored(message(&id, "v-1", "Hello?")).await;
    let noted = agent.stored(note.clone()).await;
    let until = Instant::now() + 2 * WINDOW;
    for _ in 0..2 {
        world.close(conversation(&id)).await;
        visitor.event("closed").await;
        let started = visitor.request("start_thread", json!({})).await;
        assert_ne!(started["payload"]["thread"]["id"], thread, "{started}");
    }
    world.assign(conversation(&id), world.agents[0]).await;
    sleep_until(until.into()).await;

    let token = world.session(&edge, [1; 32], json!({})).await["token"].clone();
    let (mut elsewhere, _) = Client::login(other.at, token.as_str().unwrap()).await;
    let (mut colleague, _) = Client::login(other.at, &world.staff_token(world.agents[0], Role::Agent)).await;
    for named in [None, Some(&thread)] {
        let again = |mut send: Value| {
            send["retry"] = json!(true);
            named.inspect(|thread| send["thread_id"] = (*thread).clone());
            send
        };
        for (client, send, stored) in [
            (&mut visitor, message(&id, "v-1", "Hello?"), &said),
            (&mut elsewhere, message(&id, "v-1", "Hello?"), &said),
            (&mut colleague, note.clone(), &noted),
        ] {
            let answer = client.request("send_event", again(send)).await;
            assert_eq!(answer["success"], true, "{answer}");
            assert_eq!(answer["payload"]["duplicate"], true, "{answer}");
            assert_eq!(answer["payload"]["seq"], stored["payload"]["seq"], "{answer}");
        }
        // What was never stored is what it was before: written, or refused where another thread is meant.
        let name = if named.is_some() { "v-3" } else { "v-2" };
        let new = visitor.request("send_event", again(message(&id, name, "Anybody?"))).await;
        match named {
            Some(_) => assert_eq!(new["payload"]["error"]["code"], "conflict", "{new}"),
            None => assert_eq!(new["payload"]["duplicate"], false, "{new}"),
        }
    }
    for (name, times) in [("v-1", 1), ("n-1", 1), ("v-2", 1), ("v-3", 0)] {
        assert_eq!(copies(&world, &id, name).await.len(), times, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_tabs_send_at_once_at_two_edges_is_seen_once() {
    let rounds = if long() { 1_000 } else { 60 };
    let world = World::new().await;
    let edges = [world.edge().await, world.edge().await];
    shorten_the_window(&world).await;
    let session = world.session(&edges[0], [1; 32], json!({ "initial_message": "Hello" })).await;
    let (token, id) = (session["token"].as_str().unwrap(), session["conversation"]["id"].clone());
    let mut one = Client::login(edges[0].at, token).await.0;
    let mut two = Client::login(edges[1].at, token).await.0;
    let (mut reader, _) = Client::login(edges[1].at, token).await;
    // Both anew, one as a repeat, both as repeats; and all of it once more when the server has forgotten it.
    let send = |n: usize, retry: bool| {
        let mut send = message(&id, &format!("m-{n}"), "x");
        send["retry"] = json!(retry);
        send
    };
    let mut told: Vec<Value> = Vec::new();
    let last = async |one: &mut Client, two: &mut Client, n: usize, retries: [bool; 2]| {
        let (first, second) = tokio::join!(one.stored(send(n, retries[0])), two.stored(send(n, retries[1])));
        let answers = [&first["payload"], &second["payload"]];
        assert_eq!(answers[0]["seq"], answers[1]["seq"], "{first} and {second}");
        (answers[0]["seq"].clone(), answers.map(|answer| answer["duplicate"] == true))
    };
    for n in 0..rounds {
        let retries = [[false, false], [false, true], [true, true]][n % 3];
        let (seq, duplicates) = last(&mut one, &mut two, n, retries).await;
        assert!(duplicates[0] != duplicates[1], "m-{n} is stored by one of them: {duplicates:?}");
        told.push(seq);
    }
    sleep_until((Instant::now() + 2 * WINDOW).into()).await;
    for (n, seq) in told.iter().enumerate() {
        let (again, duplicates) = last(&mut one, &mut two, n, [true, true]).await;
        assert_eq!((&again, duplicates), (seq, [true, true]), "m-{n}");
    }
    let end = reader_end(&mut one, &id).await;
    let mut seen = Vec::new();
    loop {
        let event = reader.event("message").await["event"].clone();
        if event["seq"] == end {
            break;
        }
        seen.push(event["seq"].clone());
    }
    assert_eq!(seen, told, "a third tab sees each once, where both were told");
}

/// Says one thing more, and where it is.
async fn reader_end(client: &mut Client, id: &Value) -> Value {
    client.stored(message(id, "end", "x")).await["payload"]["seq"].clone()
}
