//! Sends that are repeated in a later thread.

use bus_schema::{Author, Body, ClientId, ErrorCode, ThreadId, Visibility, event::Message};
use ops::{
    chat::{self, Draft},
    log::raise_horizon,
};

use super::Talk;
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
}
