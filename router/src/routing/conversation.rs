//! One conversation: the last states of `life` and `desk`, what is being written over them, and where it is indexed.
//!
//! Of a closed one only ids and sequences stay.

use std::{cmp::Reverse, time::Duration};

use bus_schema::{
    AgentId, Body, ConversationId, Event, GroupId, ThreadId, Timestamp,
    event::Closed,
    protocol::QueueView,
    state::{CloseReason, DeskState, Extra, LifeState, Priority, QueueEntry, QueueReason, ThreadStatus},
};

use super::{
    config::Config,
    input::Stored,
    queue::{ListKey, WaitKey},
    sight::{Sight, gone_at},
    slot::{Lock, QueueId},
    timers::Seen,
    unknown,
};

/// What a write that is under way makes of it.
#[derive(Debug)]
pub struct Pending {
    pub life: Option<LifeState>,
    pub desk: Option<DeskState>,
    pub cause: Option<uuid::Uuid>,
    /// It is a thread's first message: the log alone knows its place and time.
    pub begins: bool,
}

/// Where it stands in the tenant's indexes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Indexed {
    pub waits: Option<Waits>,
    /// The place that a write under way gives up: it is kept until that is stored.
    pub leaves: Option<(QueueId, WaitKey)>,
    pub open: Option<(Option<GroupId>, ListKey)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    pub queue: QueueId,
    pub key: WaitKey,
    pub announced: bool,
}

#[derive(Debug, Default)]
pub struct Conversation {
    pub life_seq: u64,
    /// Up to where it is known that no newer `life` message was there.
    pub as_of: u64,
    pub desk_seq: u64,
    /// Of the open thread.
    life: Option<Box<LifeState>>,
    desk: Option<Box<DeskState>>,
    /// Who had a thread last, and since when; also of one that is closed.
    last_agent: Option<(AgentId, Timestamp)>,
    /// Of the last thread, where it was closed.
    closed: Option<ThreadId>,
    /// The last thread that was seen to be closed, and by what; kept while the next one is open. Of one that was handed
    /// over its successor, which is what came of it.
    closed_by: Option<(ThreadId, uuid::Uuid)>,
    /// What caused the last `life` message.
    pub cause: Option<uuid::Uuid>,
    life_unreadable: bool,
    desk_unreadable: bool,
    pub lock: Lock,
    pub pending: Option<Box<Pending>>,
    pub indexed: Indexed,
    /// A thread was begun by a write of ours whose place in the log is known, and its time is not.
    time_unread: bool,
    pub recall: Recall,
    /// What was said in the open thread, as far as it was looked for.
    pub seen: Option<Box<Seen>>,
    /// Since when it is being looked for.
    pub looking: Option<Timestamp>,
    /// What is known of the open thread's visitor.
    pub sight: Sight,
    /// When something is due for it.
    pub timer: Option<Timestamp>,
    /// The place in its queue that was last told.
    pub told: Option<QueueView>,
    /// When it was.
    pub told_at: Option<Timestamp>,
}

/// What is read again of a closed thread, for whoever opens the next.
#[derive(Debug, Default)]
pub enum Recall {
    #[default]
    Unasked,
    /// The leader has nothing that can be read.
    Nothing,
    Found(Box<Closing>),
}

/// The last state of a closed thread, and why it was closed.
#[derive(Debug)]
pub struct Closing {
    pub state: LifeState,
    pub reason: CloseReason,
}

impl Conversation {
    /// The open thread, with what is being written.
    pub fn life(&self) -> Option<&LifeState> {
        self.pending
            .as_ref()
            .and_then(|pending| pending.life.as_ref())
            .or(self.life.as_deref())
            .filter(|life| life.status.is_open())
    }

    /// The routing state of the open thread, with what is being written.
    pub fn desk(&self) -> Option<&DeskState> {
        let thread = self.life()?.thread_id;
        self.pending
            .as_ref()
            .and_then(|pending| pending.desk.as_ref())
            .or(self.desk.as_deref())
            .filter(|desk| desk.thread_id == thread)
    }

    /// The open thread as it is stored.
    pub fn stored_life(&self) -> Option<&LifeState> {
        self.life.as_deref()
    }

    pub fn stored_desk(&self) -> Option<&DeskState> {
        let thread = self.life.as_ref()?.thread_id;
        self.desk.as_deref().filter(|desk| desk.thread_id == thread)
    }

    /// The last routing state is not of the thread that is known to be open.
    pub fn is_desk_of_another(&self) -> bool {
        self.desk
            .as_ref()
            .zip(self.life.as_ref())
            .is_some_and(|(desk, life)| desk.thread_id != life.thread_id)
    }

    pub fn closed(&self) -> Option<ThreadId> {
        self.closed
    }

    /// The thread that this command closed, or the one that it opened in its place.
    pub fn closed_by(&self, command: uuid::Uuid) -> Option<ThreadId> {
        self.closed_by.filter(|(_, cause)| *cause == command).map(|(thread, _)| thread)
    }

    /// Something that its timers depend on is being looked for.
    pub fn is_asked_for(&self) -> bool {
        self.looking.is_some() || self.sight.asking
    }

    /// A state that could not be read: nothing is written over it.
    pub fn is_frozen(&self) -> bool {
        self.life_unreadable || (self.desk_unreadable && self.life.is_some())
    }

    pub fn assignee(&self) -> Option<AgentId> {
        self.life().and_then(|life| life.assignee_id)
    }

    /// A `life` message tells something new.
    pub fn is_news(&self, seq: u64) -> bool {
        seq > self.life_seq || (self.time_unread && seq == self.life_seq)
    }

    /// Keeps what the leader says of a closed thread, as long as it is still the last.
    pub fn recalled(&mut self, last: Option<&Stored>) {
        let event = last.and_then(|stored| stored.event.as_ref());
        self.recall = match event.map(|event| &event.body) {
            // It was read before what is known by now: the next look at it finds that.
            Some(_) if last.is_some_and(|stored| stored.seq != self.life_seq) => Recall::Unasked,
            Some(Body::Closed(closed)) => {
                Recall::Found(Box::new(Closing { state: closed.state.clone(), reason: closed.reason }))
            }
            _ => Recall::Nothing,
        };
    }

    /// Takes over the state of a `life` message. The caller has checked that it is news.
    pub fn read_life(&mut self, seq: u64, at: Timestamp, event: Option<&Event>) {
        (self.life_seq, self.time_unread) = (seq, false);
        let state =
            event.and_then(|event| event.body.life_state().cloned().or_else(|| unknown::state(&event.body)));
        self.life_unreadable = state.is_none();
        self.cause = event.and_then(|event| event.cause);
        let Some(mut state) = state else {
            self.life = None;
            return;
        };
        if event.is_some_and(|event| matches!(event.body, Body::Started(_) | Body::Reopened(_))) {
            state.started_at = at;
            state.started_seq = Some(seq);
        }
        state.started_seq.get_or_insert(seq);
        self.set_life(state);
        if let Some(Body::Closed(Closed { reason: CloseReason::Reassigned, .. })) =
            event.map(|event| &event.body)
        {
            self.closed_by = self.cause.map(|cause| (ThreadId::from_uuid(cause), cause));
        }
    }

    pub fn read_desk(&mut self, seq: u64, event: Option<&Event>) {
        self.desk_seq = seq;
        let state =
            event.and_then(|event| event.body.desk_state().cloned().or_else(|| unknown::state(&event.body)));
        self.desk_unreadable = state.is_none();
        // Where several routers decide for a while, none goes by what it saw before another did.
        if self.desk.as_deref().and_then(gone_at) != state.as_ref().and_then(gone_at) {
            self.sight.outdate();
        }
        self.set_desk(state);
    }

    /// Of a closed thread only who had it is kept. That of the next may be read before the next itself is.
    fn set_desk(&mut self, state: Option<DeskState>) {
        let had = state.as_ref().and_then(|desk| desk.last_agent_id.zip(desk.last_assigned_at));
        self.last_agent = had.or(self.last_agent);
        self.desk = state.filter(|desk| self.closed != Some(desk.thread_id)).map(Box::new);
    }

    /// Who had a thread of this visitor, if that was not longer ago.
    pub fn had(&self, within: Duration, now: Timestamp) -> Option<AgentId> {
        self.last_agent.filter(|(_, at)| now.since(*at) <= within).map(|(agent, _)| agent)
    }

    /// What was being written is stored.
    pub fn wrote_life(&mut self, seq: u64) {
        if let Some(pending) = self.pending.as_deref_mut()
            && seq > self.life_seq
            && let Some(mut state) = pending.life.take()
        {
            if pending.begins {
                state.started_seq = Some(seq);
                self.time_unread = true;
            }
            // The batch that starts a thread cannot know it.
            state.started_seq.get_or_insert(seq);
            self.life_seq = seq;
            self.cause = pending.cause;
            self.life_unreadable = false;
            self.set_life(state);
        }
    }

    pub fn wrote_desk(&mut self, seq: u64) {
        if let Some(pending) = self.pending.as_deref_mut()
            && seq > self.desk_seq
            && let Some(state) = pending.desk.take()
        {
            self.desk_seq = seq;
            self.desk_unreadable = false;
            self.set_desk(Some(state));
        }
    }

    fn set_life(&mut self, state: LifeState) {
        self.recall = Recall::Unasked;
        if state.status != ThreadStatus::Queued {
            self.told = None;
        }
        if state.status == ThreadStatus::Closed {
            self.closed = Some(state.thread_id);
            self.closed_by = self.cause.map(|cause| (state.thread_id, cause));
            self.desk = self.desk.take().filter(|desk| desk.thread_id != state.thread_id);
            (self.life, self.seen, self.sight) = (None, None, Sight::default());
        } else {
            self.closed = None;
            self.life = Some(Box::new(state));
        }
    }

    /// The routing state to write over: of this thread, or a new one.
    pub fn next_desk(&self, life: &LifeState) -> DeskState {
        if let Some(desk) = self.desk() {
            return desk.clone();
        }
        let last = self.desk.as_deref();
        DeskState {
            thread_id: life.thread_id,
            queue: None,
            priority: Priority::default(),
            skills: Vec::new(),
            skills_waived: false,
            offers: Vec::new(),
            avoid: Vec::new(),
            deadlines: Vec::new(),
            misses: 0,
            last_agent_id: self.last_agent.map(|(agent, _)| agent),
            last_assigned_at: self.last_agent.map(|(_, at)| at),
            idle_since: None,
            commands: Vec::new(),
            extra: last.map_or_else(Extra::new, |desk| desk.extra.clone()),
        }
    }

    /// The place that the open thread has, or would have, in its queue.
    pub fn queue_entry(&self, life: &LifeState, reason: QueueReason) -> QueueEntry {
        let seq = life.started_seq.unwrap_or(self.life_seq);
        QueueEntry { group_id: life.group_id, since: life.started_at, since_seq: seq, reason }
    }

    /// Where it is to stand in the tenant's indexes.
    pub fn to_index(&self, id: ConversationId, config: &Config) -> Indexed {
        if self.is_frozen() {
            return Indexed::default();
        }
        let waits = |life: &LifeState, desk: Option<&DeskState>| {
            let (key, announced) = self.place(id, life, desk)?;
            Some(Waits { queue: config.queue_of(life.group_id), key, announced })
        };
        let life = self.life();
        let next = life.filter(|_| !self.lock.is_set_aside()).and_then(|life| waits(life, self.desk()));
        let stored = self.pending.as_ref().and_then(|_| waits(self.stored_life()?, self.stored_desk()));
        let at = |waits: Waits| (waits.queue, waits.key);
        Indexed {
            waits: next,
            leaves: stored.map(at).filter(|stored| next.map(at) != Some(*stored)),
            open: life.map(|life| (life.group_id, ListKey { started_at: life.started_at, conversation: id })),
        }
    }

    /// Where a thread waits: by its desk entry, or by its start until it has one; and whether it was told.
    fn place(
        &self,
        id: ConversationId,
        life: &LifeState,
        desk: Option<&DeskState>,
    ) -> Option<(WaitKey, bool)> {
        if life.status != ThreadStatus::Queued {
            return None;
        }
        let entry = desk.and_then(|desk| desk.queue.as_ref());
        let (since, since_seq) = match entry {
            Some(entry) => (entry.since, entry.since_seq),
            None => (life.started_at, life.started_seq.unwrap_or(self.life_seq)),
        };
        let priority = Reverse(desk.map_or_else(Priority::default, |desk| desk.priority));
        Some((WaitKey { priority, since, since_seq, conversation: id }, entry.is_some()))
    }
}
