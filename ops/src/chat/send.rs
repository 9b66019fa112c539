//! Sending: one event, stored once for ever, never into a closed thread.
//!
//! Invariant: the write is fenced with the `life` sequence under which it was authorised and stamped, so the log
//! itself refuses what no longer fits; a refusal is told only after the log was read.

use bus_schema::{
    Author, Body, ClientId, ErrorBody, ErrorCode, Event, EventId, Lane, ThreadId, Visibility, event::Kind,
    state::LifeState, subject::ConversationSubjects,
};
use uuid::Uuid;

use super::{
    Life, find, life,
    lookup::find_ever,
    retry::{TRIES_MAX, pause},
    unwritable,
};
use crate::log::{Expect, Log, Write, WriteError};

/// Writes of one send whose outcome stayed unknown.
const UNKNOWN_MAX: u32 = 3;

/// A send before it is stamped with its thread.
#[derive(Debug, Clone)]
pub struct Draft {
    pub home: ConversationSubjects,
    pub author: Author,
    pub client_id: ClientId,
    pub visibility: Visibility,
    pub body: Body,
    /// The thread that is meant; none: the one that is open.
    pub thread: Option<ThreadId>,
    /// It may have been sent before.
    pub retry: bool,
    pub cause: Option<Uuid>,
}

/// Stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub event_id: EventId,
    pub seq: u64,
    pub duplicate: bool,
    /// The state it was stored under.
    pub life: Life,
}

impl Draft {
    /// The id of this send, the same for every repeat of it.
    pub fn event_id(&self) -> EventId {
        let ConversationSubjects { tenant, conversation, .. } = self.home;
        EventId::of_send(tenant, conversation, self.author.id, self.client_id.as_str())
    }

    fn kind(&self) -> Result<Kind, ErrorBody> {
        self.body.kind().ok_or_else(|| ErrorCode::Internal.into())
    }

    pub(super) fn lane(&self) -> Result<Lane, ErrorBody> {
        match self.kind()?.lane(self.visibility) {
            Some(lane @ (Lane::Msg | Lane::Note)) => Ok(lane),
            Some(Lane::Life | Lane::Mark | Lane::Desk) | None => Err(ErrorCode::Internal.into()),
        }
    }

    /// The thread to stamp under this state.
    fn thread_in(&self, state: &LifeState) -> Result<ThreadId, ErrorBody> {
        let goes_on = |thread| state.continues && state.previous_thread_id == Some(thread);
        let same = self.thread.is_none_or(|thread| thread == state.thread_id || goes_on(thread));
        if !self.kind()?.ends_with_thread() {
            return Ok(self.thread.unwrap_or(state.thread_id));
        }
        match (state.status.is_open(), same) {
            (true, true) => Ok(state.thread_id),
            (true, false) => Err(ErrorBody::new(ErrorCode::Conflict, "another thread is open now")
                .with("thread_id", state.thread_id.to_string())),
            (false, _) => Err(ErrorCode::ThreadClosed.into()),
        }
    }

    /// Nobody takes part in a closed thread: its close is the reason, whoever asks.
    fn closed_first(&self, state: &LifeState, refused: ErrorBody) -> ErrorBody {
        let content = self.body.kind().is_some_and(Kind::ends_with_thread);
        let not_participant = refused.code == ErrorCode::NotParticipant;
        if content && not_participant && !state.status.is_open() {
            ErrorCode::ThreadClosed.into()
        } else {
            refused
        }
    }

    /// The write under the `life` of this sequence, in which `thread` is open.
    fn write(&self, lane: Lane, thread: ThreadId, life: u64) -> Write {
        let id = self.event_id();
        Write::new(self.home.lane(lane).to_string(), self.payload(id, thread))
            .msg_id(id.to_string())
            .expect(Expect::LastOn { subject: self.home.lane(Lane::Life).to_string(), seq: life })
    }

    fn payload(&self, id: EventId, thread: ThreadId) -> Vec<u8> {
        let event = Event {
            id,
            cause: self.cause,
            tenant_id: self.home.tenant,
            conversation_id: Some(self.home.conversation),
            thread_id: Some(thread),
            author: self.author,
            client_id: Some(self.client_id.clone()),
            visibility: self.visibility,
            body: self.body.clone(),
        };
        event.encode()
    }
}

/// The write that stores a draft under the last `life` that the caller saw; none where the log has to be asked first.
pub fn first_write(
    draft: &Draft,
    known: &Life,
    authorise: impl Fn(&LifeState) -> Result<(), ErrorBody>,
) -> Option<Write> {
    let lane = draft.lane().ok().filter(|_| !draft.retry)?;
    authorise(&known.state).ok()?;
    let thread = draft.thread_in(&known.state).ok()?;
    Some(draft.write(lane, thread, known.seq))
}

/// Stores a draft. `known` is the last `life` the caller saw, if any; `authorise` is asked again whenever it changes.
pub async fn send(
    log: &Log,
    draft: &Draft,
    known: Option<Life>,
    authorise: impl Fn(&LifeState) -> Result<(), ErrorBody> + Send,
) -> Result<Sent, ErrorBody> {
    send_after(log, draft, known, None, authorise).await
}

/// The same where a write of the caller's, made by [`first_write`], has `failed` already.
pub async fn send_after(
    log: &Log,
    draft: &Draft,
    known: Option<Life>,
    failed: Option<WriteError>,
    authorise: impl Fn(&LifeState) -> Result<(), ErrorBody> + Send,
) -> Result<Sent, ErrorBody> {
    let (id, lane) = (draft.event_id(), draft.lane()?);
    let mut fresh = known.is_none();
    let mut current = match known {
        Some(known) => known,
        None => existing(log, draft.home).await?,
    };
    let mut must_look = draft.retry;
    // Of what is no repeat nothing can be older than the thread that was open when it was first written.
    let began = current.started_seq();
    let (mut failed, mut tries, mut unknown) = (failed, 0, 0);
    loop {
        if let Some(error) = failed.take() {
            tries += 1;
            if tries > TRIES_MAX {
                return Err(unwritable(&error));
            }
            match error {
                WriteError::Mismatch => {}
                WriteError::InFlight | WriteError::DuplicateInFlight => pause(tries).await,
                WriteError::Unknown if unknown < UNKNOWN_MAX => {
                    unknown += 1;
                    pause(tries).await;
                }
                WriteError::Unknown | WriteError::Full | WriteError::Refused { .. } | WriteError::Invalid => {
                    return Err(unwritable(&error));
                }
            }
            if !error.is_contention() {
                current = existing(log, draft.home).await?;
                (fresh, must_look) = (true, true);
            }
        }
        if must_look {
            let found = if draft.retry {
                let must_know = draft.thread.is_some_and(|thread| thread != current.state.thread_id);
                find_ever(log, draft.home, lane, &current, id, must_know).await?
            } else {
                find(log, draft.home, lane, began, id).await?
            };
            if let Some(seq) = found {
                return Ok(Sent { event_id: id, seq, duplicate: true, life: current });
            }
            must_look = false;
        }
        let authorised =
            authorise(&current.state).map_err(|refused| draft.closed_first(&current.state, refused));
        let thread = match authorised.and_then(|()| draft.thread_in(&current.state)) {
            Ok(thread) => thread,
            // What was known may be old: refuse only by what the leader says.
            Err(_) if !fresh => {
                current = existing(log, draft.home).await?;
                fresh = true;
                continue;
            }
            Err(refused) => return Err(refused),
        };
        match log.publish(draft.write(lane, thread, current.seq)).await {
            Ok(stored) => {
                let (seq, duplicate) = (stored.seq, stored.duplicate);
                return Ok(Sent { event_id: id, seq, duplicate, life: current });
            }
            Err(error) => failed = Some(error),
        }
    }
}

/// The state from the leader; a conversation without one does not exist, and is never written to.
async fn existing(log: &Log, home: ConversationSubjects) -> Result<Life, ErrorBody> {
    life(log, home).await?.ok_or_else(|| ErrorCode::NotFound.into())
}
