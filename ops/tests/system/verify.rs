//! What the log, Postgres and every client must agree on, whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bus_schema::{Audience, ConversationId, EventId};
use ops::{
    chat::Marked,
    client::{Client, View},
    invariants::{self, Invariant, Logged, Report},
    testing::wait_for,
};

use crate::{traffic::Traffic, world::World};

/// Checks every invariant that the log alone can show, and prints what it saw.
pub async fn log_holds(world: &World, log: &[Logged]) -> Report {
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
    report
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
        sees_the_log(&visitor.client, conversation, Audience::All, &log).await;
        let staff =
            traffic.agents.iter().filter(|agent| agent.view(conversation).is_some_and(|view| view.mine));
        for agent in staff {
            sees_the_log(agent, conversation, Audience::Staff, &log).await;
        }
    }
    for client in traffic.clients() {
        let counts = client.counts();
        assert_eq!((counts.disordered, counts.bad_frames, counts.replaced), (0, 0, 0), "{counts:?}");
    }
    postgres_has(world, &log).await;
    // Last, since it says the least of what people saw.
    let copies = log_holds(world, &log).await.copies;
    // Of an event that is stored twice, whoever resumed in between gets both.
    let repeated: u64 = traffic.clients().map(|client| client.counts().repeated).sum();
    assert!(repeated == 0 || copies > 0, "{repeated} came again");
}

/// A lost last message of a lane shows when the edge next compares the log's ends, within 12 s.
const TAIL_WITHIN: Duration = Duration::from_secs(15);

/// Waits until the client's list is the log's slice, as far as the log was read.
pub async fn sees_the_log(client: &Client, conversation: ConversationId, audience: Audience, log: &[Logged]) {
    wait_for(TAIL_WITHIN, "a client to show what the log has", async || {
        shows(client, conversation, audience, log)
    })
    .await;
}

/// Whether the client's list is the log's slice by now.
pub fn shows(
    client: &Client,
    conversation: ConversationId,
    audience: Audience,
    log: &[Logged],
) -> Result<(), String> {
    let view = client.view(conversation).ok_or_else(|| format!("nothing of {conversation}"))?;
    let end = log.last().map_or(0, |last| last.seq);
    let entries = view.entries.iter().map(|entry| (entry.seq, entry.id));
    let seen: Vec<(u64, EventId)> = entries.filter(|(seq, _)| *seq <= end).collect();
    let due = slice(log, conversation, audience, &view);
    let stored: Vec<(u64, EventId)> = due.iter().map(|logged| (logged.seq, logged.event.id)).collect();
    if seen == stored {
        return Ok(());
    }
    let missing = lines(due.into_iter().filter(|logged| !seen.contains(&(logged.seq, logged.event.id))));
    let extra: Vec<_> = seen.iter().filter(|event| !stored.contains(event)).collect();
    let counts = client.counts();
    Err(format!("{conversation}: extra {extra:?}, missing:\n{missing}\nseen {seen:?}\n{counts:?}"))
}

/// What a reader of `conversation` must show: all of it, but for what is before the first event where the client was told
/// that there is more, and for marks that a snapshot gave in another form. Of copies, the lowest counts.
fn slice<'a>(
    log: &'a [Logged],
    conversation: ConversationId,
    audience: Audience,
    view: &View,
) -> Vec<&'a Logged> {
    let from = if view.has_more { view.entries.first().map_or(0, |first| first.seq) } else { 0 };
    let shown: BTreeSet<EventId> = view.entries.iter().map(|entry| entry.id).collect();
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
        .filter(|logged| logged.seq >= from)
        .filter(|logged| shown.contains(&logged.event.id) || !was_told(view, logged))
        .collect()
}

/// Whether it is a mark that the snapshot had already.
fn was_told(view: &View, logged: &Logged) -> bool {
    let told = |wanted: Marked| {
        view.marks.iter().any(|mark| {
            mark.author == logged.event.author
                && mark.delivered >= wanted.delivered
                && mark.read >= wanted.read
        })
    };
    Marked::of_body(&logged.event.body).is_some_and(told)
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
