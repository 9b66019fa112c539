//! With `thread_per_assignment`: what is said while a thread passes to another agent.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    ConversationId, Shard,
    claims::Role,
    config::{Record, TenantRecord},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    client::{Client, message},
    desk_work::{Desk, ask, take, with},
    retries::{WINDOW, shorten_the_window},
    world::{CONSOLE_ORIGIN, World},
};

/// Hand-overs, and what is said during each.
const ROUNDS: usize = 30;
const AT_ONCE: usize = 4;

async fn desk() -> Desk {
    let world = World::new().await;
    let tenant = TenantRecord {
        tenant_id: world.tenant,
        name: "Shop".into(),
        shard: Shard(0),
        default_group_id: Some(world.group),
        console_origins: vec![CONSOLE_ORIGIN.into()],
        thread_per_assignment: true,
        routing: Default::default(),
        revision: 2,
        deleted: false,
    };
    world.put(&Record::Tenant(tenant)).await;
    Desk::over(world).await
}

async fn give(boss: &mut Client, id: ConversationId, desk: &Desk, n: usize) {
    let to = with(id, json!({ "agent_id": desk.world.agents[n] }));
    assert_eq!(ask(boss, "assign", to).await, "ok");
}

#[tokio::test]
async fn a_send_that_names_the_thread_before_is_stored_in_its_successor() {
    let desk = desk().await;
    let (mut visitor, id) = desk.visitor(&desk.one, 1).await;
    let mut agent = desk.staff(&desk.two, 0, Role::Agent).await;
    let mut boss = desk.staff(&desk.two, 2, Role::Supervisor).await;
    take(&mut agent, id).await;
    let before = visitor.event("assigned").await["event"]["thread_id"].clone();
    give(&mut boss, id, &desk, 1).await;
    let closed = visitor.event("closed").await["event"].clone();
    assert_eq!((&closed["data"]["reason"], &closed["thread_id"]), (&json!("reassigned"), &before));
    let after = visitor.event("assigned").await["event"]["thread_id"].clone();
    assert_ne!(after, before);

    let mut late = message(&json!(id), "late", "To whom do I speak?");
    late["thread_id"] = before;
    assert_eq!(ask(&mut visitor, "send_event", late).await, "ok");
    assert_eq!(visitor.event("message").await["event"]["thread_id"], after);
    let stale = message(&json!(id), "stale", "Is it still mine?");
    assert_eq!(ask(&mut agent, "send_event", stale).await, "not_participant");
}

#[tokio::test]
async fn a_repeat_in_the_successor_of_a_successor_is_told_to_be_where_it_is() {
    let desk = desk().await;
    shorten_the_window(&desk.world).await;
    let (mut visitor, id) = desk.visitor(&desk.one, 1).await;
    let mut agent = desk.staff(&desk.two, 0, Role::Agent).await;
    let mut boss = desk.staff(&desk.two, 2, Role::Supervisor).await;
    take(&mut agent, id).await;
    let first = visitor.event("assigned").await["event"]["thread_id"].clone();
    let mut said = message(&json!(id), "said", "Words");
    let stored = visitor.stored(said.clone()).await["payload"]["seq"].clone();
    let until = Instant::now() + 2 * WINDOW;
    for n in [1, 0] {
        give(&mut boss, id, &desk, n).await;
        visitor.event("assigned").await;
    }
    sleep_until(until).await;
    said["retry"] = json!(true);
    for thread in [Value::Null, first] {
        said["thread_id"] = thread;
        let again = visitor.request("send_event", said.clone()).await;
        assert_eq!(
            (&again["payload"]["seq"], &again["payload"]["duplicate"]),
            (&stored, &json!(true)),
            "{again}"
        );
    }
}

#[tokio::test]
async fn a_send_that_races_a_succession_is_neither_lost_nor_stored_in_a_closed_thread() {
    let desk = desk().await;
    let (mut visitor, id) = desk.visitor(&desk.one, 1).await;
    let mut agent = desk.staff(&desk.two, 0, Role::Agent).await;
    let mut boss = desk.staff(&desk.two, 2, Role::Supervisor).await;
    take(&mut agent, id).await;
    let mut said = BTreeSet::new();
    for round in 1..=ROUNDS {
        let talk = async {
            let mut waiting = Vec::new();
            for n in 0..AT_ONCE {
                let client_id = format!("v-{round}-{n}");
                waiting.push(visitor.send("send_event", message(&json!(id), &client_id, "Words")).await);
                said.insert(client_id);
            }
            for request in waiting {
                let answer = visitor.answer(&request).await;
                assert_eq!(answer["success"], true, "{answer}");
            }
        };
        tokio::join!(talk, give(&mut boss, id, &desk, round % 2));
    }
    assert_eq!(ask(&mut boss, "close_thread", with(id, json!({}))).await, "ok");
    visitor.find(|frame| frame["payload"]["event"]["data"]["reason"] == "closed_by_agent").await;
    passed_on_whole(&visitor, &said);
}

/// In the order of the log: each thing said is there once, in the thread that was open then.
fn passed_on_whole(visitor: &Client, said: &BTreeSet<String>) {
    let mut events: BTreeMap<u64, &Value> = BTreeMap::new();
    for frame in visitor.read.iter().filter(|frame| frame["action"] == "event") {
        let event = &frame["payload"]["event"];
        events.insert(event["seq"].as_u64().unwrap(), event);
    }
    let (mut open, mut over) = (Value::Null, 0);
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    let (mut busy, mut threads) = (0, BTreeSet::new());
    for event in events.values() {
        match event["kind"].as_str().unwrap() {
            "started" => open = event["thread_id"].clone(),
            "closed" => (open, over) = (Value::Null, over + 1),
            "message" if event["client_id"].as_str().is_some_and(|id| id.starts_with("v-")) => {
                // What the login answered began before the pushes.
                assert!(open.is_null() && over == 0 || event["thread_id"] == open, "{event} while {open}");
                *stored.entry(event["client_id"].as_str().unwrap().to_owned()).or_default() += 1;
                busy += usize::from(threads.insert(event["thread_id"].to_string()));
            }
            _ => {}
        }
    }
    assert_eq!(stored.keys().cloned().collect::<BTreeSet<_>>(), *said);
    assert!(stored.values().all(|times| *times == 1), "{stored:?}");
    assert_eq!(over, ROUNDS + 1, "each hand-over ended a thread");
    assert!(busy > ROUNDS / 2, "what was said fell into {busy} threads only: nothing raced");
}
