//! How far somebody has got, and how far they have read.

use std::sync::Arc;

use bus_schema::protocol::Mark;
use ops::chat::MarkKind;
use serde_json::value::RawValue;

use crate::{
    admission::Want,
    conn::Reply,
    hub::Deed,
    session::{Session, request, send},
};

pub async fn mark(session: &Arc<Session>, reply: Reply, kind: MarkKind, payload: Option<&RawValue>) {
    let mark = request::payload(payload).and_then(|mark| send::has_room(session, Want::Mark).map(|()| mark));
    match mark {
        Ok(Mark { conversation_id, up_to_seq }) => {
            let deed = Deed::Mark { kind, up_to: up_to_seq };
            super::act(session, reply, conversation_id, deed).await;
        }
        Err(error) => reply.fail(error),
    }
}
