//! Reads what people said in a thread, when a timer depends on it.
//!
//! Invariant: nothing that was acknowledged before the question is left out; what cannot be read is asked for again.

use std::ops::ControlFlow;

use bus_schema::{
    ConversationId, Event, Lane, Subject, TenantId, ThreadId,
    event::{AuthorType, Kind},
};
use ops::{
    chat::{Span, slice},
    log::{Log, ReadError, StoredMsg},
};
use tokio::time::sleep;

use super::writer::by_chance;
use crate::{
    routing::{Input, Said},
    steps::Backoff,
};

/// Messages of one look; what comes after them is asked for again.
const MESSAGES_MAX: usize = 1000;

#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub tenant: TenantId,
    pub conversation: ConversationId,
    pub thread: ThreadId,
    pub after: u64,
}

pub async fn look(log: Log, asked: Asked) -> Input {
    let mut failed = Backoff::LEADER;
    loop {
        match read(&log, asked).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%error, "a conversation cannot be read yet");
                sleep(by_chance(failed.failed())).await;
            }
        }
    }
}

async fn read(log: &Log, asked: Asked) -> Result<Input, ReadError> {
    let Asked { tenant, conversation, thread, after } = asked;
    let lane = Lane::Msg;
    let subject = Subject::Conversation { shard: log.shard(), tenant, conversation, lane }.to_string();
    let (mut said, mut up_to, mut left) = (Vec::new(), None, MESSAGES_MAX);
    let last = log.last(&subject).await?.map(|last| last.seq).filter(|last| *last > after);
    if let Some(last) = last {
        slice(log, &subject, Span::new(after + 1, last), |message| {
            up_to = Some(message.seq);
            said.extend(heard(&message));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    }
    let more = left == 0 && up_to < last;
    Ok(Input::Looked { tenant, conversation, thread, said, up_to, more })
}

/// None of what is only about something said.
fn heard(message: &StoredMsg) -> Option<Said> {
    let event = Event::decode(&message.payload).ok()?;
    let by: AuthorType = event.author.kind;
    event.body.kind().is_some_and(Kind::ends_with_thread).then_some(Said { by, at: message.at })
}
