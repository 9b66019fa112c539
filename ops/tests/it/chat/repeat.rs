//! Sends that are repeated in a later thread.

use bus_schema::{Author, Body, ClientId, ErrorCode, ThreadId, Visibility, event::Message};
use ops::{
    chat::{self, Draft},
    log::{Log, raise_horizon},
};

use super::{
    Talk,
    older::{Answering, Historian},
};
use crate::kit::{SHARD, provisioned};

fn again(talk: &Talk, client_id: &str, thread: Option<ThreadId>) -> Draft {
    Draft {
        home: talk.home,
        author: Author::visitor(talk.visitor),
        client_id: ClientId::new(client_id.to_owned()).unwrap(),
        visibility: Visibility::All,
        body: Body::Message(Message { text: "1".into(), quick_replies: Vec::new() }),
        thread,
        retry: true,
        cause: None,
    }
}

#[tokio::test]
async fn without_a_read_model_no_repeat_from_below_the_horizon_is_called_a_conflict() {
    let (_server, log) = provisioned().await;
    let mut talk = Talk::new(&log, 1).await;
    let first = talk.start(None).await.life.state.thread_id;
    let below = talk.say().await;
    let above = talk.say().await;
    talk.close().await;
    talk.start(None).await;
    let send = async |client_id: &str, thread| {
        chat::send(&log, &again(&talk, client_id, thread), None, |_| Ok(())).await
    };
    for (client_id, seq) in [("m-1", below), ("m-2", above)] {
        for thread in [None, Some(first)] {
            let sent = send(client_id, thread).await.unwrap();
            assert_eq!((sent.seq, sent.duplicate), (seq, true), "{client_id} in {thread:?}");
        }
    }
    let refused = send("never", Some(first)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "all of the log was looked through");

    raise_horizon(log.bus(), SHARD, above).await.unwrap();
    log.horizon().await.unwrap();
    log.purge(&talk.home.lane(bus_schema::Lane::Msg).to_string(), above).await.unwrap();
    let sent = send("m-2", Some(first)).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (above, true), "what the log has needs nobody else");
    for client_id in ["m-1", "never"] {
        let refused = send(client_id, Some(first)).await.unwrap_err();
        assert_eq!((refused.code, refused.retryable), (ErrorCode::Unavailable, true), "{client_id}");
    }
    assert!(!send("anew", None).await.unwrap().duplicate, "talk goes on");

    let kept = again(&talk, "m-1", None).event_id();
    let answering = Answering::start(&talk, Historian::Keeps(kept, below)).await;
    let sent = send("m-1", Some(first)).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate, answering.asked()), (below, true, 1), "what the log has no more");
    let refused = send("never", Some(first)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "the read model holds all that was trimmed");
}

#[tokio::test]
async fn a_repeat_is_found_whoever_has_it_and_whoever_is_away() {
    let (_server, log) = provisioned().await;
    let mut talk = Talk::new(&log, 1).await;
    let first = talk.start(None).await.life.state.thread_id;
    let said = talk.say().await;
    talk.close().await;
    talk.start(None).await;
    let of_before = [Historian::OfBefore, Historian::Silent];
    for historian in of_before.into_iter().chain([Historian::Whole, Historian::Behind, Historian::Empty]) {
        // Anew each time: what failed before is not remembered.
        let log = Log::new(log.bus().clone(), SHARD);
        let answering = Answering::start(&talk, historian).await;
        let send = async |client_id: &str, thread| {
            chat::send(&log, &again(&talk, client_id, thread), None, |_| Ok(())).await
        };
        for thread in [None, Some(first)] {
            let sent = send("m-1", thread).await.unwrap();
            assert_eq!((sent.seq, sent.duplicate), (said, true), "{historian:?}");
        }
        let refused = send("never", Some(first)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict, "{historian:?}");
        let asked = if of_before.contains(&historian) { 1 } else { 3 };
        assert_eq!(answering.asked(), asked, "{historian:?} is asked once for each, or is let be");
    }
}
