//! What is far down comes from whoever has it, and is the same whoever that is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus_schema::{
    Audience, Author, Body, ErrorCode, Event, EventId, Lane,
    event::{Delivered, Read},
    history::{HistoryAnswer, HistoryRequest},
    protocol::EventPage,
    splice::splice,
    subject,
};
use futures::StreamExt as _;
use ops::{
    chat::{self, PageRequest, Sight},
    log::{Log, StoredMsg},
};
use serde_json::value::RawValue;

use super::{Talk, page::AGENT};
use crate::kit::{SHARD, provisioned};

/// How the read model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Historian {
    Whole,
    /// All that the log no longer has: this event.
    Keeps(EventId, u64),
    /// What it does not have yet, nobody should miss.
    Behind,
    /// It does not say how far it is.
    OfBefore,
    /// It never heard of the conversation.
    Empty,
    Silent,
}

/// Answers until dropped, and counts the questions.
pub(super) struct Answering {
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answering {
    pub(super) async fn start(talk: &Talk, historian: Historian) -> Self {
        let (log, home) = (talk.log.clone(), talk.home);
        let client = log.bus().client.clone();
        let mut requests = client.subscribe(subject::history_of_shard(SHARD)).await.unwrap();
        client.flush().await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let task = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                count.fetch_add(1, Ordering::SeqCst);
                let wanted: HistoryRequest = serde_json::from_slice(&request.payload).unwrap();
                let answer = match historian {
                    Historian::Silent => continue,
                    Historian::Whole => whole(&log, home, &wanted).await,
                    Historian::Keeps(id, seq) => {
                        let event_seq = (wanted.event_id == Some(id)).then_some(seq);
                        HistoryAnswer { holds_to: Some(u64::MAX), event_seq, ..nothing() }
                    }
                    Historian::Empty => HistoryAnswer::from(Err(ErrorCode::NotFound.into())),
                    Historian::Behind | Historian::OfBefore => {
                        let holds_to = (historian == Historian::Behind).then_some(1);
                        HistoryAnswer { holds_to, ..nothing() }
                    }
                };
                let answer = serde_json::to_vec(&answer).unwrap();
                client.publish(request.reply.unwrap(), answer.into()).await.unwrap();
            }
        });
        Self { asked, task }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn nothing() -> HistoryAnswer {
    Ok(EventPage { events: Vec::new(), has_more: false }).into()
}

/// Everything, a few at a time.
async fn whole(log: &Log, home: subject::ConversationSubjects, wanted: &HistoryRequest) -> HistoryAnswer {
    let all = log.read(&home.stored(wanted.audience), 1, 10_000).await.unwrap();
    let holds_to = all.last().map(|last| last.seq);
    if let Some(id) = wanted.event_id {
        let is_it = |message: &&StoredMsg| Event::decode(&message.payload).unwrap().id == id;
        return HistoryAnswer { holds_to, event_seq: all.iter().find(is_it).map(|it| it.seq), ..nothing() };
    }
    let fits = |seq: u64| {
        wanted.before_seq.is_none_or(|before| seq < before)
            && wanted.after_seq.is_none_or(|after| seq > after)
    };
    let mut events: Vec<Box<RawValue>> = all
        .iter()
        .filter(|message| fits(message.seq))
        .map(|message| String::from_utf8(splice(message.seq, message.at, &message.payload)).unwrap())
        .map(|event| RawValue::from_string(event).unwrap())
        .collect();
    let most = wanted.limit.min(7);
    let has_more = events.len() > most;
    match wanted.before_seq {
        Some(_) => drop(events.drain(..events.len().saturating_sub(most))),
        None => events.truncate(most),
    }
    HistoryAnswer { holds_to, ..Ok(EventPage { events, has_more }).into() }
}

/// Two threads of all kinds: said, noted, marked, routed.
async fn mixed(log: &Log) -> Talk {
    let mut talk = Talk::new(log, 3).await;
    for thread in 0..2 {
        talk.start(Some(&format!("start-{thread}"))).await;
        for n in 0..45 {
            let said = talk.say().await;
            match n % 9 {
                2 => talk.put(Lane::Note).await,
                4 => talk.put(Lane::Desk).await,
                5 => talk.mark(Author::agent(AGENT), Body::Delivered(Delivered { up_to_seq: said })).await,
                6 => talk.mark(Author::agent(AGENT), Body::Read(Read { up_to_seq: said - 3 })).await,
                7 => talk.mark(Author::visitor(talk.visitor), Body::Read(Read { up_to_seq: said })).await,
                _ => {}
            }
        }
        if thread == 0 {
            talk.close().await;
        }
    }
    talk
}

/// All that anybody could see, of every position and in every direction.
async fn seen(talk: &Talk, log: &Log) -> Vec<String> {
    let mut life = chat::life(log, talk.home).await.unwrap().unwrap();
    life.state.assignee_id = Some(AGENT);
    let end = log.end().await.unwrap().last;
    let mut all = Vec::new();
    for (audience, viewer) in
        [(Audience::All, Author::visitor(talk.visitor)), (Audience::Staff, Author::agent(AGENT))]
    {
        let home = talk.home;
        for seq in (life.started_seq()..=end).step_by(11).chain([end]) {
            // A lane may be known less far than the others.
            let mut behind = [seq; Lane::ALL.len()];
            behind[Lane::Mark.index()] = seq - 9;
            for (events, position) in
                [(true, [seq; Lane::ALL.len()]), (false, [seq; Lane::ALL.len()]), (true, behind)]
            {
                let sight =
                    Sight { home, audience, life: &life, position: &position, viewer, horizon: 0, events };
                let snapshot = chat::snapshot(log, &sight).await.unwrap();
                all.push(format!("{audience:?} at {seq}: {snapshot:?}"));
            }
        }
        for place in (1..=end + 1).step_by(29) {
            for (before, after) in [(Some(place), None), (None, Some(place))] {
                let request = PageRequest { home, audience, before, after, limit: 20 };
                let page = chat::page(log, &request).await.unwrap();
                all.push(format!("{audience:?} {before:?} {after:?}: {page:?}"));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_is_the_same_whoever_has_it_and_whoever_is_away() {
    let (_server, log) = provisioned().await;
    let talk = mixed(&log).await;
    let expected = seen(&talk, &log.searching(u64::MAX)).await;
    let differs = |found: &[String], what: &str| {
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{what}");
        }
    };
    for search_max in [0, 13, 60] {
        // Anew each time: what failed before is not remembered.
        let log = Log::new(log.bus().clone(), SHARD).searching(search_max);
        differs(&seen(&talk, &log).await, "nobody answers");
        for historian in [Historian::Whole, Historian::Behind, Historian::OfBefore, Historian::Empty] {
            let answering = Answering::start(&talk, historian).await;
            let log = Log::new(log.bus().clone(), SHARD).searching(search_max);
            differs(&seen(&talk, &log).await, &format!("{historian:?} beyond {search_max}"));
            assert!(answering.asked() > 0, "{historian:?}");
        }
    }
}

#[tokio::test]
async fn who_does_not_answer_is_asked_once_for_many_conversations() {
    let (_server, log) = provisioned().await;
    let talk = mixed(&log).await;
    let log = log.searching(5);
    let answering = Answering::start(&talk, Historian::Silent).await;
    let life = chat::life(&log, talk.home).await.unwrap().unwrap();
    let position = [log.end().await.unwrap().last; Lane::ALL.len()];
    let sight = Sight {
        home: talk.home,
        audience: Audience::All,
        life: &life,
        position: &position,
        viewer: Author::agent(AGENT),
        horizon: 0,
        events: true,
    };
    let all = async {
        for _ in 0..50 {
            assert_eq!(chat::snapshot(&log, &sight).await.unwrap().events.len(), 50 - 3);
        }
    };
    tokio::time::timeout(Duration::from_secs(15), all).await.expect("not half a second for each");
    assert!(answering.asked() <= 3, "asked {} times", answering.asked());
}

#[tokio::test]
async fn who_resumes_is_told_what_is_unread_without_the_events() {
    let (_server, log) = provisioned().await;
    let talk = mixed(&log).await;
    let mut life = chat::life(&log, talk.home).await.unwrap().unwrap();
    life.state.assignee_id = Some(AGENT);
    let position = [log.end().await.unwrap().last; Lane::ALL.len()];
    for (audience, viewer) in
        [(Audience::All, Author::visitor(talk.visitor)), (Audience::Staff, Author::agent(AGENT))]
    {
        let whole = Sight {
            home: talk.home,
            audience,
            life: &life,
            position: &position,
            viewer,
            horizon: 0,
            events: true,
        };
        let told = Sight { events: false, ..whole };
        let (whole, told) =
            (chat::snapshot(&log, &whole).await.unwrap(), chat::snapshot(&log, &told).await.unwrap());
        assert!(told.events.is_empty() && told.authors.is_empty() && !whole.events.is_empty());
        assert_eq!((&told.unread, &told.marks, &told.tags), (&whole.unread, &whole.marks, &whole.tags));
        assert!(!told.unread.is_empty() || viewer == Author::visitor(talk.visitor));
    }
}
