//! What the log, Postgres and every client must agree on, whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bus_schema::{Audience, ConversationId, EventId};
use ops::{
    client::Client,
    invariants::{self, Invariant, Logged},
    testing::wait_for,
};

use crate::{traffic::Traffic, world::World};

/// Checks every invariant that the log alone can show, and prints what it saw.
pub async fn log_holds(world: &World, log: &[Logged]) {
    let report = invariants::check(log, &world.groups().await);
    println!(
        "log: {} events, {} conversations, {} threads ({} open), {} copies, {} unknown",
        report.events,
        report.conversations,
        report.threads,
        report.open_threads,
        report.copies,
        report.unknown
    );
    if let Some(violation) = report.violations.first() {
        println!("{}", before(log, violation.seq));
    }
    let lines: Vec<String> = report.violations.iter().take(20).map(ToString::to_string).collect();
    assert!(report.violations.is_empty(), "{} violations:\n{}", report.violations.len(), lines.join("\n"));
    assert_eq!(report.unknown, 0);
}

/// What a violation came from: the last decisions and states before it, a line each.
fn before(log: &[Logged], seq: u64) -> String {
    const LINES: usize = 150;
    let states = log.iter().filter(|logged| logged.seq <= seq || seq == 0).filter(|logged| {
        let body = &logged.event.body;
        body.life_state().is_some() || body.desk_state().is_some() || body.agent_state().is_some()
    });
    let states: Vec<&Logged> = states.collect();
    lines(states[states.len().saturating_sub(LINES)..].iter().copied())
}

/// What became of a conversation, and of all agents, a line each.
pub fn story(log: &[Logged], conversation: ConversationId) -> String {
    lines(log.iter().filter(|logged| {
        let event = &logged.event;
        event.conversation_id == Some(conversation) || event.body.agent_state().is_some()
    }))
}

fn lines<'a>(log: impl Iterator<Item = &'a Logged>) -> String {
    let line = |logged: &Logged| {
        let Logged { seq, at, event, .. } = logged;
        let text = String::from_utf8(event.encode()).unwrap_or_default();
        let conversation = event.conversation_id.map(|id| id.to_string()).unwrap_or_default();
        format!("{seq} {at} {conversation} {text}")
    };
    log.map(line).collect::<Vec<_>>().join("\n")
}

/// How long after the last fault a thread may wait though an agent is free: 5 s, and four times that where other work
/// has the cores.
const STUCK_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until nobody waits though somebody is free. A log of half a million messages takes longer to read than that, so
/// what counts is a look that began when the time was over.
pub async fn nothing_stuck(world: &World) {
    let groups = world.groups().await;
    let end = Instant::now() + STUCK_MAX;
    loop {
        let began = Instant::now();
        let report = invariants::check(&world.log().await, &groups);
        let stuck = report.violations.iter().filter(|v| v.invariant == Invariant::NoIdleQueue).count();
        if stuck == 0 {
            return;
        }
        assert!(began < end, "{stuck} wait though somebody is free");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `acked-is-stored`, `one-order`: log, Postgres and both sides have the same.
pub async fn all_agree(world: &World, traffic: &Traffic) {
    nothing_stuck(world).await;
    world.persisted().await;
    let log = world.log().await;
    log_holds(world, &log).await;

    let acked = traffic.acked.lock().unwrap().clone();
    println!("acknowledged sends: {}", acked.len());
    assert!(!acked.is_empty());
    let missing = invariants::check_acked(&log, acked);
    assert!(
        missing.is_empty(),
        "{} acknowledged sends are not in the log, first: {}",
        missing.len(),
        missing[0]
    );

    for visitor in &traffic.visitors {
        let conversation = visitor.conversation.unwrap();
        catches_up(&visitor.client, conversation, Audience::All, &log).await;
        let staff =
            traffic.agents.iter().filter(|agent| agent.view(conversation).is_some_and(|view| view.mine));
        for agent in staff {
            catches_up(agent, conversation, Audience::Staff, &log).await;
        }
    }
    for client in traffic.clients() {
        let counts = client.counts();
        assert_eq!((counts.disordered, counts.bad_frames), (0, 0), "{counts:?}");
    }
    postgres_has(world, &log).await;
}

/// A lost last message shows when the edge next compares the log's end, within 12 s.
const TAIL_WITHIN: Duration = Duration::from_secs(15);

/// The same, once the client has the last.
async fn catches_up(client: &Client, conversation: ConversationId, audience: Audience, log: &[Logged]) {
    let last = slice(log, conversation, audience, 0).last().map(|(seq, _)| *seq);
    wait_for(TAIL_WITHIN, "a client to have the last message", async || {
        let has = client.entries(conversation).last().map(|entry| entry.seq);
        if has >= last { Ok(()) } else { Err(format!("{has:?} of {last:?} in {conversation}")) }
    })
    .await;
    sees_the_log(client, conversation, audience, log);
}

/// The client's list is the log's slice from its first entry on, as far as the log was read.
pub fn sees_the_log(client: &Client, conversation: ConversationId, audience: Audience, log: &[Logged]) {
    let end = log.last().map_or(0, |last| last.seq);
    let entries = client.entries(conversation);
    let seen: Vec<(u64, EventId)> =
        entries.iter().map(|entry| (entry.seq, entry.id)).filter(|(seq, _)| *seq <= end).collect();
    let first = seen.first().unwrap_or_else(|| panic!("a client shows nothing of {conversation}")).0;
    let stored = slice(log, conversation, audience, first);
    let missing: Vec<_> = stored.iter().filter(|event| !seen.contains(event)).collect();
    let extra: Vec<_> = seen.iter().filter(|event| !stored.contains(event)).collect();
    assert_eq!(seen, stored, "{conversation}: missing {missing:?}, extra {extra:?}; {:?}", client.counts());
}

/// What a reader of `conversation` must have from sequence `from` on: of copies, the lowest counts.
fn slice(log: &[Logged], conversation: ConversationId, audience: Audience, from: u64) -> Vec<(u64, EventId)> {
    let mut ids = BTreeSet::new();
    let readable = |logged: &&Logged| {
        logged
            .subject
            .conversation()
            .is_some_and(|(id, lane)| id == conversation && audience.lanes().contains(&lane))
    };
    log.iter()
        .filter(readable)
        .filter(|logged| ids.insert(logged.event.id))
        .map(|logged| (logged.seq, logged.event.id))
        .filter(|(seq, _)| *seq >= from)
        .collect()
}

/// Every event of the log is in Postgres, once, at its sequence, and nothing else is.
async fn postgres_has(world: &World, log: &[Logged]) {
    let mut expected: BTreeMap<EventId, u64> = BTreeMap::new();
    for logged in log {
        expected.entry(logged.event.id).or_insert(logged.seq);
    }
    let rows = world.postgres().await.query("SELECT id, seq FROM chat.events", &[]).await.unwrap();
    let kept: BTreeMap<EventId, u64> = rows
        .iter()
        .map(|row| (EventId::from_uuid(row.get(0)), u64::try_from(row.get::<_, i64>(1)).unwrap()))
        .collect();
    assert_eq!(rows.len(), kept.len(), "an id is twice in Postgres");
    let missing = expected.iter().filter(|(id, seq)| kept.get(id) != Some(seq)).count();
    // The log goes on: an agent's state may have been written since it was read.
    let end = log.last().map_or(0, |last| last.seq);
    let extra = kept.iter().filter(|(id, seq)| **seq <= end && !expected.contains_key(id)).count();
    assert_eq!((missing, extra), (0, 0), "events missing from Postgres, and events only there");
}
