//! More than can be stored in time is refused by name and in time, and what a router asks to be quiet is.

use std::time::{Duration, Instant};

use bus_schema::{Audience, Event, signal::Signal};
use ops::testing::wait_for;
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    counts::Counts,
    signals::{Scene, conversation},
    world::World,
};

const SOON: Duration = Duration::from_secs(10);

/// The names of what people said in a conversation, as the log has them.
async fn said(world: &World, id: &Value) -> Vec<String> {
    let filter = world.home(conversation(id)).stored(Audience::All);
    let read = world.log.read(&filter, 1, 100_000).await.unwrap();
    let events = read.iter().map(|message| Event::decode(&message.payload).unwrap());
    events.filter_map(|event| Some(event.client_id?.as_str().to_owned())).collect()
}

#[tokio::test]
async fn a_held_conversation_waits_for_a_moment_and_no_longer_and_others_do_not() {
    let Scene { world, edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let session = world.session(&edge, [2; 32], json!({ "initial_message": "Hello" })).await;
    let (mut other, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let home = world.home(conversation(&id));
    let say = async |signal: &Signal| {
        let payload = serde_json::to_vec(signal).unwrap();
        world.bus.client.publish(home.signals(), payload.into()).await.unwrap();
    };
    let began = Instant::now();
    // As long as it likes; twice, as a router would that fails again.
    for _ in 0..2 {
        say(&Signal::Hold { conversation_id: home.conversation, for_ms: 60_000 }).await;
    }
    // What comes behind it on the same subject was heard after it.
    let author = bus_schema::Author::agent(world.agents[0]);
    say(&Signal::Typing { conversation_id: home.conversation, author, on: true }).await;
    visitor.push("signal").await;
    let before = said(&world, &id).await.len();
    let waiting = [visitor.send("send_event", message(&id, "m-1", "x")).await, {
        staff.send("send_event", message(&id, "m-2", "x")).await
    }];
    let elsewhere = message(&session["conversation"]["id"], "o-1", "x");
    assert_eq!(other.request("send_event", elsewhere).await["success"], true);
    let elsewhere_after = began.elapsed();
    assert_eq!(said(&world, &id).await.len(), before, "nothing is written meanwhile");
    assert_eq!(visitor.answer(&waiting[0]).await["success"], true);
    assert_eq!(staff.answer(&waiting[1]).await["success"], true);
    let held = began.elapsed();
    assert!(held >= Duration::from_millis(190), "{held:?}");
    assert!(held < Duration::from_secs(5), "{held:?}");
    assert!(elsewhere_after < held, "{elsewhere_after:?} {held:?}");
    let seen = tab.event("message").await["event"]["client_id"].clone();
    assert!(seen == "m-1" || seen == "m-2");
}

#[tokio::test]
async fn an_overload_is_refused_by_name_in_time_and_nothing_acknowledged_is_lost() {
    const CLIENTS: u8 = 8;
    const EACH: usize = 500;
    let counts = Counts::begin();
    let mut world = World::new().await;
    let settings = [("LIMIT_REQUESTS_IN_FLIGHT", "0"), ("LIMIT_EVENTS_PER_SECOND_PER_TENANT", "0")];
    let edge = world.edge_with(&settings).await;
    let mut people = Vec::new();
    for key in 1..=CLIENTS {
        let session = world.session(&edge, [key; 32], json!({ "initial_message": "Hello" })).await;
        let (client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
        people.push((client, session["conversation"]["id"].clone()));
    }
    // The slowest of disks.
    world.nats.pause();
    let began = Instant::now();
    for (client, id) in &mut people {
        for n in 0..EACH {
            client.send("send_event", message(id, &format!("m-{n}"), "x")).await;
        }
    }
    let mut refused = 0;
    for (client, _) in &mut people {
        // All but the one that is being written.
        for _ in 0..EACH - 1 {
            let answer = client.find(|frame| frame["type"] == "response").await;
            assert!(!is_stored(&answer), "nothing can be stored now: {answer}");
            refused += 1;
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "answers come in bounded time: {took:?}");
    world.nats.resume();
    let mut written = 0;
    for (client, id) in &mut people {
        // Where the machine was so slow that none was being written, this one is refused as well.
        let last = is_stored(&client.find(|frame| frame["type"] == "response").await);
        written += usize::from(last);
        refused += u64::from(!last);
        let send = message(id, "again", "x");
        assert_eq!(client.request("send_event", send).await["success"], true, "it goes on");
        let said = said(&world, id).await;
        assert_eq!(said.len(), 2 + usize::from(last), "what was refused is not stored: {said:?}");
    }
    assert!(written > 0);
    assert_eq!(counts.refused("send_queue"), refused);
}

/// Or refused for a moment, by name.
fn is_stored(answer: &Value) -> bool {
    let error = &answer["payload"]["error"];
    if answer["success"] != true {
        assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)), "{answer}");
        assert!(error["after_ms"].as_u64().is_some_and(|after| (500..1_500).contains(&after)), "{answer}");
    }
    answer["success"] == true
}

#[tokio::test]
async fn what_was_refused_before_it_began_is_not_looked_up_when_it_is_repeated() {
    let counts = Counts::begin();
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_EVENTS_PER_SECOND", "1"), ("LIMIT_EVENTS_BURST", "1")]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let id = session["conversation"]["id"].clone();
    let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let again = |name: &str| {
        let mut again = message(&id, name, "x");
        again["retry"] = json!(true);
        again
    };
    assert_eq!(client.request("send_event", message(&id, "m-1", "x")).await["success"], true);
    let refused = client.request("send_event", message(&id, "m-2", "x")).await;
    assert_eq!(refused["payload"]["error"]["code"], "rate_limited", "{refused}");
    let mut stored = async |name: &str| {
        wait_for(SOON, "its turn", async || {
            let answer = client.request("send_event", again(name)).await;
            if answer["success"] == true { Ok(answer["payload"]["duplicate"].clone()) } else { Err(answer) }
        })
        .await
    };
    assert_eq!((stored("m-2").await, counts.lookups()), (json!(false), 0));
    // It may be stored, as far as the edge knows; so may what it never heard of.
    assert_eq!((stored("m-2").await, counts.lookups()), (json!(true), 1));
    assert_eq!((stored("m-3").await, counts.lookups()), (json!(false), 2));
    assert_eq!(said(&world, &id).await[1..], ["m-1", "m-2", "m-3"]);
}
