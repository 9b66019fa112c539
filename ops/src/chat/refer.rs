//! What an event refers to: the message that is edited or deleted, the form that is filled in.
//!
//! Invariant: what refers to nothing, or to what one may not touch, is refused before anything is written; a repeat
//! of what is stored is found, not refused.

use std::ops::ControlFlow;

use bus_schema::{
    AttachmentId, Author, Body, ErrorBody, ErrorCode, Event, EventId, Lane, ThreadId, Timestamp, event::Kind,
    limits::VISITOR_EDIT_WITHIN_MS,
};

use super::{Draft, Head, Life, Span, form, slice, unreadable};
use crate::log::{Log, StoredMsg};

/// What somebody may do to what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Edit and delete one's own for 15 minutes.
    Visitor,
    /// Edit and delete one's own while the thread is open.
    Agent,
    /// That, and delete whatever anybody said.
    Supervisor,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referred {
    /// The thread of what the event refers to, whether it must be open still when the event is written, and the file
    /// that it is.
    To { thread: Option<ThreadId>, while_open: bool, file: Option<AttachmentId> },
    /// The event itself is stored already.
    Stored { seq: u64 },
}

/// Looks up what a draft refers to; none: it is of a kind that refers to nothing. Pointers begin with `at`.
pub async fn refer(
    log: &Log,
    draft: &Draft,
    life: &Life,
    right: Right,
    now: Timestamp,
    at: &str,
) -> Result<Option<Referred>, ErrorBody> {
    let (target, pointer) = match &draft.body {
        Body::MessageEdited(edit) => (edit.target_id, format!("{at}/target_id")),
        Body::MessageDeleted(delete) => (delete.target_id, format!("{at}/target_id")),
        Body::FormFilled(filled) => (filled.form_event_id, format!("{at}/form_event_id")),
        _ => return Ok(None),
    };
    // A form is in the open, wherever what refers to it goes.
    let lane = if matches!(draft.body, Body::FormFilled(_)) { Lane::Msg } else { draft.lane()? };
    let mut found = look(log, draft, lane, target, life.started_seq()).await?;
    if found.target.is_none() && found.own.is_none() && life.state.previous_thread_id.is_some() {
        found = look(log, draft, lane, target, 1).await?;
    }
    if let Some(seq) = found.own {
        return Ok(Some(Referred::Stored { seq }));
    }
    let Some(message) = found.target else {
        return Err(ErrorBody::field(pointer, "there is no such event in this conversation"));
    };
    let event = Event::decode(&message.payload).map_err(|_| ErrorCode::Internal)?;
    if let Body::FormFilled(filled) = &draft.body {
        let Body::Form(asked) = &event.body else {
            return Err(ErrorBody::field(pointer, "this event is no form"));
        };
        if found.deleted {
            return Err(deleted());
        }
        form::answers(&asked.fields, &filled.values, &format!("{at}/values"))?;
        return Ok(None);
    }
    let said =
        Said { kind: event.body.kind(), author: event.author, at: message.at, thread: event.thread_id };
    let while_open = said.may_change(draft, life, right, now, &pointer)?;
    // What was hidden can still be removed.
    if found.deleted && !matches!(&draft.body, Body::MessageDeleted(delete) if delete.purge) {
        return Err(deleted());
    }
    let file = match &event.body {
        Body::File(file) => Some(file.attachment_id),
        _ => None,
    };
    Ok(Some(Referred::To { thread: said.thread, while_open, file }))
}

fn deleted() -> ErrorBody {
    ErrorBody::new(ErrorCode::Conflict, "it was deleted")
}

/// What an edit or delete is about.
struct Said {
    kind: Option<Kind>,
    author: Author,
    at: Timestamp,
    thread: Option<ThreadId>,
}

impl Said {
    /// Whether it may be changed, and whether only while its thread is open.
    fn may_change(
        &self,
        draft: &Draft,
        life: &Life,
        right: Right,
        now: Timestamp,
        pointer: &str,
    ) -> Result<bool, ErrorBody> {
        let deletes = matches!(draft.body, Body::MessageDeleted(_));
        let fits = match (self.kind, deletes) {
            (Some(kind), true) => kind.ends_with_thread(),
            (kind, false) => kind == Some(Kind::Message),
            (None, true) => false,
        };
        if !fits {
            let what =
                if deletes { "only what somebody said is deleted" } else { "only messages are edited" };
            return Err(ErrorBody::field(pointer, what));
        }
        if deletes && right == Right::Supervisor {
            return Ok(false);
        }
        if self.author != draft.author {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "only one's own messages are changed"));
        }
        if right == Right::Visitor {
            let age = now.millis().saturating_sub(self.at.millis());
            if u64::try_from(age).is_ok_and(|age| age > VISITOR_EDIT_WITHIN_MS) {
                return Err(ErrorBody::new(ErrorCode::Forbidden, "messages are changed within 15 minutes"));
            }
            return Ok(false);
        }
        if !life.is_open() || self.thread != Some(life.state.thread_id) {
            return Err(ErrorCode::ThreadClosed.into());
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Found {
    target: Option<StoredMsg>,
    deleted: bool,
    /// The draft itself, if it is stored.
    own: Option<u64>,
}

async fn look(log: &Log, draft: &Draft, lane: Lane, target: EventId, from: u64) -> Result<Found, ErrorBody> {
    let subject = draft.home.lane(lane).to_string();
    let mut found = Found::default();
    let Some(end) = log.last(&subject).await.map_err(|error| unreadable(&error))? else { return Ok(found) };
    let own = draft.event_id();
    slice(log, &subject, Span::new(from, end.seq), |message| {
        let Ok(head) = Head::decode(&message.payload) else { return ControlFlow::Continue(()) };
        if head.id == own {
            found.own.get_or_insert(message.seq);
        } else if head.id == target {
            found.target.get_or_insert(message);
        } else if head.kind() == Some(Kind::MessageDeleted) {
            found.deleted |= Event::decode(&message.payload)
                .is_ok_and(|event| matches!(event.body, Body::MessageDeleted(d) if d.target_id == target));
        }
        ControlFlow::Continue(())
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{
        AgentId, ClientId, ConversationId, Shard, TenantId, Visibility, VisitorId,
        event::{MessageDeleted, MessageEdited},
        state::{LifeState, ThreadStatus},
        subject::ConversationSubjects,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
    const ME: Author = Author::visitor(VisitorId::NIL);
    const AGENT: Author = Author::agent(AgentId::NIL);

    fn life(status: ThreadStatus) -> Life {
        let state = LifeState {
            thread_id: ThreadId::NIL,
            status,
            group_id: None,
            assignee_id: None,
            participants: Vec::new(),
            started_at: NOW,
            started_seq: Some(1),
            visitor_id: VisitorId::NIL,
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Default::default(),
        };
        Life { seq: 1, state }
    }

    fn draft(author: Author, deletes: bool) -> Draft {
        let target_id = EventId::NIL;
        let home = ConversationSubjects {
            shard: Shard(0),
            tenant: TenantId::NIL,
            conversation: ConversationId::NIL,
        };
        Draft {
            home,
            author,
            client_id: ClientId::new("c").unwrap(),
            visibility: Visibility::All,
            body: match deletes {
                true => Body::MessageDeleted(MessageDeleted { target_id, purge: false }),
                false => Body::MessageEdited(MessageEdited { target_id, text: "x".into() }),
            },
            thread: None,
            retry: false,
            cause: None,
        }
    }

    fn said(author: Author, kind: Kind, minutes_ago: i64) -> Said {
        let at = Timestamp::from_millis(NOW.millis() - minutes_ago * 60_000);
        Said { kind: Some(kind), author, at, thread: Some(ThreadId::NIL) }
    }

    #[test]
    fn who_may_change_what_and_when() {
        use Right::{Agent, Supervisor, Visitor};
        use ThreadStatus::{Active, Closed};
        let cases = [
            // what, by whom, deletes, in a thread that is, as → outcome
            (said(ME, Kind::Message, 15), ME, false, Active, Visitor, Ok(false)),
            (said(ME, Kind::Message, 16), ME, false, Active, Visitor, Err(ErrorCode::Forbidden)),
            (said(ME, Kind::Message, 1), ME, true, Closed, Visitor, Ok(false)),
            (said(AGENT, Kind::Message, 1), ME, true, Active, Visitor, Err(ErrorCode::Forbidden)),
            (said(ME, Kind::File, 1), ME, false, Active, Visitor, Err(ErrorCode::InvalidRequest)),
            (said(ME, Kind::File, 1), ME, true, Active, Visitor, Ok(false)),
            (said(ME, Kind::Rated, 1), ME, true, Active, Visitor, Err(ErrorCode::InvalidRequest)),
            (said(AGENT, Kind::Message, 900), AGENT, false, Active, Agent, Ok(true)),
            (said(AGENT, Kind::Message, 1), AGENT, false, Closed, Agent, Err(ErrorCode::ThreadClosed)),
            (said(ME, Kind::Message, 1), AGENT, true, Active, Agent, Err(ErrorCode::Forbidden)),
            (said(ME, Kind::Message, 900), AGENT, true, Closed, Supervisor, Ok(false)),
            (said(ME, Kind::Message, 1), AGENT, false, Active, Supervisor, Err(ErrorCode::Forbidden)),
        ];
        for (n, (said, by, deletes, status, right, expected)) in cases.into_iter().enumerate() {
            let outcome = said.may_change(&draft(by, deletes), &life(status), right, NOW, "/target_id");
            assert_eq!(outcome.map_err(|error| error.code), expected, "case {n}");
        }
    }
}
