//! Typing and previews: told to those who are there, and never stored.

use std::sync::Arc;

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, FieldError,
    protocol::{Preview, SignalKind, Typing},
    signal::Signal,
};
use serde_json::value::RawValue;

use crate::{
    conn::Reply,
    hub::Deed,
    limits::or_unbounded,
    session::{Session, request},
};

pub async fn typing(session: &Arc<Session>, reply: Reply, payload: Option<&RawValue>) {
    match request::payload(payload) {
        Ok(Typing { conversation_id, on }) => {
            let author = session.who.author();
            let signal = Signal::Typing { conversation_id, author, on };
            told(session, reply, conversation_id, SignalKind::Typing, signal).await;
        }
        Err(error) => reply.fail(error),
    }
}

pub async fn preview(session: &Arc<Session>, reply: Reply, payload: Option<&RawValue>) {
    match request::payload(payload).and_then(|preview| checked(session, preview)) {
        Ok(Preview { conversation_id, text }) => {
            let author = session.who.author();
            let signal = Signal::Preview { conversation_id, author, text };
            told(session, reply, conversation_id, SignalKind::Preview, signal).await;
        }
        Err(error) => reply.fail(error),
    }
}

/// A preview is as long as the message may be that it becomes.
fn checked(session: &Session, preview: Preview) -> Result<Preview, ErrorBody> {
    let most = or_unbounded(session.app.core.limits.text_bytes);
    if preview.text.len() > most {
        let errors = vec![FieldError::new("/payload/text", format!("at most {most} bytes of UTF-8"))];
        return Err(ErrorBody { code: ErrorCode::TooLarge, ..ErrorBody::fields(errors) });
    }
    Ok(preview)
}

async fn told(
    session: &Arc<Session>,
    reply: Reply,
    conversation: ConversationId,
    kind: SignalKind,
    signal: Signal,
) {
    super::act(session, reply, conversation, Deed::Signal(kind, signal)).await;
}
