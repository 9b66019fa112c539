//! Pages are pieces of the log without a hole, and cost what they hold.

use std::time::{Duration, Instant};

use bus_schema::{
    AgentId, Audience, Author, Body, ErrorCode, Lane,
    event::{Delivered, Read},
};
use futures::StreamExt as _;
use ops::{
    chat::{self, PageRequest, Sight, Snapshot},
    log::{Log, Write, raise_horizon},
    testing::long,
};
use serde_json::Value;
use uuid::Uuid;

use super::Talk;
use crate::kit::{SHARD, lane, provisioned};

pub const AGENT: AgentId = AgentId::from_uuid(Uuid::from_u128(7));

/// What others say meanwhile.
async fn noise(log: &Log, messages: usize) {
    let writes = (0..messages).map(|n| log.publish(Write::new(lane((n % 50) as u128, Lane::Msg), "{}")));
    let stored: Vec<_> = futures::stream::iter(writes).buffered(512).collect().await;
    assert!(stored.iter().all(Result::is_ok));
}

/// Three threads, said in bursts with much of others' between, and something on each lane.
async fn long_talk(log: &Log, burst: usize, noisy: usize) -> Talk {
    let mut talk = Talk::new(log, 1).await;
    for thread in 0..3 {
        talk.start(Some(&format!("start-{thread}"))).await;
        for _ in 0..2 {
            for _ in 0..burst {
                talk.say().await;
            }
            noise(log, noisy).await;
            let read = talk.say().await;
            talk.read(AGENT, read).await;
            talk.put(Lane::Desk).await;
            noise(log, noisy).await;
            talk.put(Lane::Note).await;
        }
        if thread < 2 {
            talk.close().await;
        }
    }
    talk
}

async fn all_seqs(talk: &Talk, audience: Audience) -> Vec<u64> {
    let all = talk.log.read(&talk.home.stored(audience), 1, 100_000).await.unwrap();
    all.iter().map(|message| message.seq).collect()
}

async fn seqs(talk: &Talk, before: Option<u64>, after: Option<u64>, limit: usize) -> (Vec<u64>, bool) {
    seqs_for(talk, Audience::All, before, after, limit).await
}

async fn seqs_for(
    talk: &Talk,
    audience: Audience,
    before: Option<u64>,
    after: Option<u64>,
    limit: usize,
) -> (Vec<u64>, bool) {
    let request = PageRequest { home: talk.home, audience, before, after, limit };
    let page = chat::page(&talk.log, &request).await.unwrap();
    let seq = |event: &serde_json::value::RawValue| {
        serde_json::from_str::<Value>(event.get()).unwrap()["seq"].as_u64().unwrap()
    };
    (page.events.iter().map(|event| seq(event)).collect(), page.has_more)
}

#[tokio::test]
async fn pages_in_both_directions_are_the_logs_pieces_and_know_whether_there_is_more() {
    let (_server, log) = provisioned().await;
    // Far enough apart that lanes are searched one after the other, and near enough that some pages are not.
    let talk = long_talk(&log, 120, 500).await;
    for audience in [Audience::All, Audience::Staff] {
        let all = all_seqs(&talk, audience).await;
        let places = (0..all.len()).step_by(73).map(|n| all[n]).chain([1, all[all.len() - 1], u64::MAX]);
        for (place, limit) in places.flat_map(|place| [1, 7, 50, 200, 1_000].map(|limit| (place, limit))) {
            let below: Vec<u64> = all.iter().copied().filter(|seq| *seq < place).collect();
            let expected = (below[below.len().saturating_sub(limit)..].to_vec(), below.len() > limit);
            let page = seqs_for(&talk, audience, Some(place), None, limit).await;
            assert_eq!(page, expected, "below {place}, {limit}");
            let above: Vec<u64> = all.iter().copied().filter(|seq| *seq > place).collect();
            let expected = (above[..above.len().min(limit)].to_vec(), above.len() > limit);
            let page = seqs_for(&talk, audience, None, Some(place), limit).await;
            assert_eq!(page, expected, "above {place}, {limit}");
        }
        let whole = seqs_for(&talk, audience, None, None, all.len()).await;
        assert_eq!(whole, (all.clone(), false), "exactly all of it");
        let but_one = seqs_for(&talk, audience, None, None, all.len() - 1).await;
        assert_eq!(but_one, (all[1..].to_vec(), true));
    }
}

#[tokio::test]
async fn without_a_read_model_what_is_below_the_horizon_is_unavailable_and_the_rest_is_not() {
    let (_server, log) = provisioned().await;
    let talk = long_talk(&log, 30, 10).await;
    let all = all_seqs(&talk, Audience::All).await;
    let at = all.len() - 20;
    raise_horizon(log.bus(), SHARD, all[at]).await.unwrap();
    raise_horizon(log.bus(), SHARD, all[3]).await.unwrap();
    assert_eq!(log.horizon().await.unwrap(), all[at], "it only grows");
    assert_eq!(seqs(&talk, None, None, 20).await, (all[at..].to_vec(), true), "a full page asks nobody");
    let request = PageRequest {
        home: talk.home,
        audience: Audience::All,
        before: Some(all[at]),
        after: None,
        limit: 5,
    };
    let error = chat::page(&log, &request).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, true));
    assert_eq!(seqs(&talk, None, Some(all[at] - 1), 100).await, (all[at..].to_vec(), false));
}

/// What somebody sees of the open thread now.
async fn seen(talk: &Talk, audience: Audience, viewer: Author) -> Snapshot {
    let mut life = chat::life(&talk.log, talk.home).await.unwrap().unwrap();
    life.state.assignee_id = Some(AGENT);
    let end = *all_seqs(talk, audience).await.last().unwrap();
    let position = &[end; Lane::ALL.len()];
    let sight = Sight { home: talk.home, audience, life: &life, position, viewer, horizon: 0, events: true };
    chat::snapshot(&talk.log, &sight).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_holds_the_latest_of_the_thread_and_what_is_unread() {
    let (_server, log) = provisioned().await;
    let mut talk = long_talk(&log, 200, 5).await;
    for _ in 0..60 {
        talk.say().await;
    }
    let all = all_seqs(&talk, Audience::All).await;
    talk.read(AGENT, all[all.len() - 11]).await;
    let snapshot = seen(&talk, Audience::All, Author::agent(AGENT)).await;
    assert_eq!((snapshot.events.len(), snapshot.has_more, snapshot.unread.len()), (50, true, 10));
    let last: Value = serde_json::from_str(snapshot.events[49].get()).unwrap();
    assert_eq!(last["seq"], all[all.len() - 1]);
    assert_eq!(snapshot.marks.len(), 1);
}

#[tokio::test]
async fn unread_is_everything_above_the_read_mark_however_late_the_mark_was_written() {
    let (_server, log) = provisioned().await;
    for noisy in [0, 40] {
        let mut talk = Talk::new(&log, 10 + noisy as u128).await;
        talk.start(None).await;
        let mut said = Vec::new();
        for _ in 0..120 {
            said.push(talk.say().await);
            noise(&log, noisy).await;
        }
        let visitor = Author::visitor(talk.visitor);
        for author in [Author::agent(AGENT), visitor] {
            talk.mark(author, Body::Delivered(Delivered { up_to_seq: said[119] })).await;
            talk.mark(author, Body::Read(Read { up_to_seq: said[9] })).await;
        }
        let snapshot = seen(&talk, Audience::All, Author::agent(AGENT)).await;
        assert_eq!((snapshot.events.len(), snapshot.has_more, snapshot.unread.len()), (50, true, 110));
        let marks = snapshot.marks.iter().map(|mark| (mark.delivered, mark.read)).collect::<Vec<_>>();
        assert_eq!(marks, [(said[119], said[9]); 2]);
    }
}

/// What a page costs in a conversation of 10,000 events in a log of 1,000,000 (long profile; else a tenth of it).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_costs_the_same_wherever_it_is() {
    let (_server, log) = provisioned().await;
    let scale = if long() { 10 } else { 1 };
    let talk = long_talk(&log, 160 * scale, 16_000 * scale).await;
    let all = all_seqs(&talk, Audience::All).await;
    let whole = Instant::now();
    all_seqs(&talk, Audience::All).await;
    let whole = whole.elapsed();
    let mut took = Vec::new();
    for n in (0..all.len()).step_by(all.len() / 40) {
        let began = Instant::now();
        let (page, _) = seqs(&talk, Some(all[n]), None, 50).await;
        took.push(began.elapsed());
        assert_eq!(page.len(), n.min(50));
    }
    took.sort_unstable();
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{} events, whole: {whole:?}; a page of 50: median {median:?}, slowest {slowest:?}", all.len());
    assert!(slowest < Duration::from_secs(20), "a liveness bound, no more");
}
