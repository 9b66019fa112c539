//! A start that is repeated is carried out once.

use std::time::Duration;

use bus_schema::{Audience, Event, Lane, event::Kind};
use tokio::time::timeout;

use super::Talk;
use crate::kit::provisioned;

async fn kinds(talk: &Talk) -> Vec<Kind> {
    let all = talk.log.read(&talk.home.stored(Audience::Staff), 1, 1_000).await.unwrap();
    all.iter().filter_map(|message| Event::decode(&message.payload).unwrap().body.kind()).collect()
}

#[tokio::test]
async fn a_start_repeated_after_its_thread_was_closed_opens_no_other() {
    let (_server, log) = provisioned().await;
    let talk = Talk::new(&log, 1).await;
    let first = talk.start(Some("first")).await;
    let closed = talk.close().await;
    let again = talk.start(Some("first")).await;
    assert!(!again.is_new);
    assert_eq!((again.life.seq, again.life.is_open()), (closed, false));
    let (sent, before) = (again.initial.unwrap(), first.initial.unwrap());
    assert_eq!((sent.event_id, sent.seq, sent.duplicate), (before.event_id, before.seq, true));
    assert_eq!(kinds(&talk).await, [Kind::Started, Kind::Message, Kind::Closed]);
    // Something else that is said is another start.
    let next = talk.start(Some("second")).await;
    assert!(next.is_new && next.life.state.thread_id != first.life.state.thread_id);
}

#[tokio::test]
async fn who_says_the_same_again_without_a_client_id_starts_again() {
    let (_server, log) = provisioned().await;
    let talk = Talk::new(&log, 1).await;
    let first = talk.start(None).await;
    let repeated = talk.start(None).await;
    assert_eq!(repeated.life.state.thread_id, first.life.state.thread_id);
    talk.close().await;
    let second = talk.start(None).await;
    assert!(second.is_new && second.life.state.thread_id != first.life.state.thread_id);
    assert_eq!(kinds(&talk).await.iter().filter(|kind| **kind == Kind::Message).count(), 2);
}

#[tokio::test]
async fn one_thread_and_one_first_event_wherever_a_start_broke_off() {
    let (_server, log) = provisioned().await;
    let mut broke_off = 0;
    for visitor in 1..=40 {
        let talk = Talk::new(&log, visitor).await;
        let patience = Duration::from_micros(u64::try_from(visitor).unwrap() * 100);
        broke_off += u32::from(timeout(patience, talk.start(Some("first"))).await.is_err());
        let repeated = talk.start(Some("first")).await;
        let sent = repeated.initial.unwrap();
        assert_eq!(kinds(&talk).await, [Kind::Started, Kind::Message], "after {patience:?}");
        assert_eq!(log.last(&talk.home.lane(Lane::Msg).to_string()).await.unwrap().unwrap().seq, sent.seq);
    }
    assert!(broke_off > 0, "every start was done in time");
}
