//! Starting: the visitor's one open thread, whatever races to open it.
//!
//! Invariant: `started` is written with the `life` sequence that was read, after the visitor's record and before the
//! first event, which is fenced as every other; whoever loses that race finds the winner's thread and sends its first
//! event there, once. A start that breaks off is completed by its repeat, and one that is repeated after its thread was
//! closed finds that thread, and opens no other.

use std::time::Duration;

use bus_schema::{
    Author, Body, ClientId, Epoch, ErrorBody, ErrorCode, Event, EventId, GroupId, IncarnationId, Lane,
    ThreadId, Timestamp, Visibility, VisitorId, WidgetId,
    command::{Actor, Answer, Command},
    event,
    limits::ADMIT_WAIT_MS,
    state::{LifeState, StartSource, ThreadStatus, VisitorRecord},
    subject::ConversationSubjects,
};

use super::{
    Draft, Life, ProfileChange, Record, Sent, ask, command, find, life, record,
    retry::{TRIES_MAX, pause},
    send, unwritable, update_visitor,
};
use crate::log::{Expect, Log, Write, WriteError};

/// What a start wants.
#[derive(Debug, Clone)]
pub struct Start {
    pub home: ConversationSubjects,
    pub visitor: VisitorId,
    pub widget_id: Option<WidgetId>,
    /// The requested group, else the widget's, else the tenant's.
    pub group_id: Option<GroupId>,
    pub profile: ProfileChange,
    pub initial: Option<Initial>,
    pub source: StartSource,
    /// Who writes: the log's epoch and this process's incarnation.
    pub epoch: Epoch,
    pub writer: IncarnationId,
}

/// The first thing said. Without a `client_id` one is made of the thread and the text.
#[derive(Debug, Clone)]
pub struct Initial {
    pub client_id: Option<ClientId>,
    pub body: Body,
}

/// The open thread.
#[derive(Debug, Clone)]
pub struct Started {
    pub life: Life,
    /// This call opened it.
    pub is_new: bool,
    pub initial: Option<Sent>,
    pub record: Record,
}

/// Opens the visitor's thread, or finds the open one.
pub async fn start(log: &Log, wanted: &Start) -> Result<Started, ErrorBody> {
    // The same in every try: a thread with this id is this call's, whatever became of the answer to its write.
    let thread = ThreadId::from_uuid(uuid::Uuid::now_v7());
    let mut tries = 0;
    loop {
        let before = record(log, wanted.home.tenant, wanted.visitor).await?;
        if before.record.is_banned(now()) {
            return Err(ErrorCode::Banned.into());
        }
        let current = life(log, wanted.home).await?;
        let found = match &current {
            Some(open) if open.is_open() => Some((open, say(log, wanted, open, true).await)),
            Some(over) => carried_out(log, wanted, over, thread).await?.map(|initial| (over, Ok(initial))),
            None => None,
        };
        if let Some((life, initial)) = found {
            match initial {
                Ok(initial) => {
                    let (life, is_new) = (life.clone(), life.state.thread_id == thread);
                    let record = told(log, wanted, before).await?;
                    return Ok(Started { life, is_new, initial, record });
                }
                // It was closed meanwhile: open the next one.
                Err(error) if error.code == ErrorCode::ThreadClosed && tries < TRIES_MAX => {
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        let group_id = admitted(log, wanted).await?;
        let plan = Plan::new(wanted, thread, current.as_ref(), &before, group_id);
        match plan.store(log, before).await {
            Ok((life, record)) => {
                let initial = say(log, wanted, &life, false).await?;
                let life = initial.as_ref().map_or(life, |sent| sent.life.clone());
                return Ok(Started { life, is_new: true, initial, record });
            }
            // Whatever happened, the log says it: a thread that is mine is found above, open or closed since.
            Err(WriteError::Mismatch) if tries < TRIES_MAX => tries += 1,
            Err(WriteError::InFlight | WriteError::DuplicateInFlight | WriteError::Unknown)
                if tries < TRIES_MAX =>
            {
                tries += 1;
                pause(tries).await;
            }
            Err(error) => return Err(unwritable(&error)),
        }
    }
}

/// Sends the first event into an open thread, where a `retry` may have sent it before.
async fn say(log: &Log, wanted: &Start, open: &Life, retry: bool) -> Result<Option<Sent>, ErrorBody> {
    let Some(initial) = &wanted.initial else { return Ok(None) };
    let draft = Draft {
        home: wanted.home,
        author: Author::visitor(wanted.visitor),
        client_id: initial.client_id(open.state.thread_id),
        visibility: Visibility::All,
        body: initial.body.clone(),
        thread: Some(open.state.thread_id),
        retry,
        cause: None,
    };
    send(log, &draft, Some(open.clone()), |_| Ok(())).await.map(Some)
}

/// What became of this start, if the thread that is over now was opened by it: the call's own, or one whose first
/// event the client names again. Without a `client_id` nothing tells a repeat from somebody who says the same twice.
async fn carried_out(
    log: &Log,
    wanted: &Start,
    over: &Life,
    thread: ThreadId,
) -> Result<Option<Option<Sent>>, ErrorBody> {
    let mine = over.state.thread_id == thread;
    let Some(initial) = wanted.initial.as_ref().filter(|initial| mine || initial.client_id.is_some()) else {
        return Ok(mine.then_some(None));
    };
    let Start { home, visitor, .. } = *wanted;
    let client_id = initial.client_id(over.state.thread_id);
    let event_id = EventId::of_send(home.tenant, home.conversation, visitor.uuid(), client_id.as_str());
    let seq = find(log, home, Lane::Msg, over.started_seq(), event_id).await?;
    match seq {
        Some(seq) => Ok(Some(Some(Sent { event_id, seq, duplicate: true, life: over.clone() }))),
        // It was closed before the first event could follow.
        None if mine => Err(ErrorCode::ThreadClosed.into()),
        None => Ok(None),
    }
}

/// What the start says of the visitor counts also where the thread is open already.
async fn told(log: &Log, wanted: &Start, before: Record) -> Result<Record, ErrorBody> {
    let Start { home, visitor, epoch, writer, ref profile, .. } = *wanted;
    match profile.write(home.shard, home.tenant, &before, epoch, writer) {
        Some(_) => update_visitor(log, home.tenant, visitor, profile, epoch, writer).await,
        None => Ok(before),
    }
}

/// Asks the router whether the group takes it. Without an answer in time the start goes ahead.
async fn admitted(log: &Log, wanted: &Start) -> Result<Option<GroupId>, ErrorBody> {
    let admit = Command::Admit {
        conversation_id: wanted.home.conversation,
        group_id: wanted.group_id,
        widget_id: wanted.widget_id,
    };
    let request = command(Actor::visitor(wanted.visitor), admit);
    let wait = Duration::from_millis(ADMIT_WAIT_MS);
    let asked = ask(log.bus(), log.shard(), wanted.home.tenant, &request, wait);
    match tokio::time::timeout(wait, asked).await {
        Ok(Ok(Answer::Admitted { group_id })) => Ok(group_id.or(wanted.group_id)),
        Ok(Err(refused)) if !matches!(refused.code, ErrorCode::Unavailable | ErrorCode::Timeout) => {
            Err(refused)
        }
        Ok(Ok(_) | Err(_)) | Err(_) => Ok(wanted.group_id),
    }
}

/// What one try writes.
struct Plan {
    record: Option<(Write, VisitorRecord)>,
    started: Write,
    state: LifeState,
}

impl Plan {
    fn new(
        wanted: &Start,
        thread_id: ThreadId,
        current: Option<&Life>,
        before: &Record,
        group_id: Option<GroupId>,
    ) -> Self {
        let Start { home, visitor, widget_id, epoch, writer, .. } = *wanted;
        let record = wanted.profile.write(home.shard, home.tenant, before, epoch, writer);
        let state = LifeState {
            thread_id,
            status: ThreadStatus::Queued,
            group_id,
            assignee_id: None,
            participants: Vec::new(),
            started_at: now(),
            started_seq: None,
            visitor_id: visitor,
            widget_id,
            previous_thread_id: current.map(|life| life.state.thread_id),
            continues: false,
            extra: current.map(|life| life.state.extra.clone()).unwrap_or_default(),
        };
        let expected = current.map_or(0, |life| life.seq);
        let subject = home.lane(Lane::Life).to_string();
        let event = Event {
            id: EventId::of_write(epoch, &subject, expected, writer),
            cause: None,
            tenant_id: home.tenant,
            conversation_id: Some(home.conversation),
            thread_id: Some(thread_id),
            author: Author::visitor(visitor),
            client_id: None,
            visibility: Visibility::All,
            body: Body::Started(event::Started {
                group_id,
                widget_id,
                source: wanted.source,
                state: state.clone(),
            }),
        };
        let started = Write::new(subject, event.encode()).expect(Expect::LastOnSubject(expected));
        Self { record, started, state }
    }

    /// The record comes first: a thread whose visitor nobody knows would be worse than a visitor without a thread.
    async fn store(self, log: &Log, before: Record) -> Result<(Life, Record), WriteError> {
        let record = match self.record {
            Some((write, record)) => Record { seq: log.publish(write).await?.seq, record, receipt: None },
            None => before,
        };
        let seq = log.publish(self.started).await?.seq;
        Ok((Life { seq, state: LifeState { started_seq: Some(seq), ..self.state } }, record))
    }
}

impl Initial {
    /// The given one, else one that the same text in the same thread has for ever.
    fn client_id(&self, thread: ThreadId) -> ClientId {
        use sha2::{Digest as _, Sha256};
        if let Some(id) = &self.client_id {
            return id.clone();
        }
        let text = match &self.body {
            Body::Message(message) => message.text.as_bytes(),
            _ => b"",
        };
        let digest = Sha256::new().chain_update(thread.uuid().as_bytes()).chain_update(text).finalize();
        let hex: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        ClientId::new(format!("i-{hex}")).expect("42 characters of the alphabet")
    }
}

/// The writer's clock; the bus's time is what counts once it is stored.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
