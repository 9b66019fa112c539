//! Sends: one write of a conversation in flight, concurrent over conversations, bounded in time over all.

use std::time::Duration;

use bus_schema::{
    AgentId, Body, ErrorBody, ErrorCode, GroupId, TenantId, Visibility, VisitorId,
    claims::Role,
    protocol::{Done as Answered, SendAnswer},
    signal::HOLD_MS,
    state::LifeState,
    subject::ConversationSubjects,
};
use futures::FutureExt as _;
use ops::{
    chat::{self, Draft, Life, Referred, Right, Sent},
    log::{Log, WriteError},
    wire::Lost,
};
use tokio::time::{Instant, sleep_until};

use super::{io::Done, window::Load, worker::Worker};
use crate::{clock, conn::Reply, core::Core, directory::Index, metrics::Limit, turned_away::TurnedAway};

/// A send that could not begin within this time is refused.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Where what is said stands in a request.
const DATA: &str = "/payload/event/data";
/// Who is refused tries again within these, each at their own moment.
const RETRY_AFTER_MS: std::ops::Range<u64> = 500..1_500;

/// A send with who asked for it.
#[derive(Debug)]
pub struct SendJob {
    pub reply: Reply,
    pub draft: Draft,
    /// How large its request was.
    pub bytes: usize,
    pub sender: Sender,
    pub at: Instant,
    pub answer: Stored,
}

/// What the answer to a stored send says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Where it is.
    Event,
    /// That it is done.
    Done,
}

/// A send whose first write is on its way.
#[derive(Debug)]
pub struct Writing {
    job: Box<SendJob>,
    /// What it was written under.
    life: Life,
    began: Instant,
}

/// Who sends, and what that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Visitor(VisitorId),
    Staff { tenant: TenantId, agent: AgentId, role: Role },
}

impl Sender {
    /// Whether the sender may say this in a conversation in this state. Visitors are bound to their own by its id.
    fn may_send(self, index: &Index, state: &LifeState, draft: &Draft) -> Result<(), ErrorBody> {
        // Supervisors delete whatever anybody said.
        if matches!(draft.body, Body::MessageDeleted(_)) && self.right() == Right::Supervisor {
            return Ok(());
        }
        match self.may_take_part(index, state) {
            Err(refused)
                if refused.code == ErrorCode::NotParticipant && draft.visibility == Visibility::Agents =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether the sender takes part: visitors do in their own, staff as assignee or joined.
    pub fn may_take_part(self, index: &Index, state: &LifeState) -> Result<(), ErrorBody> {
        if matches!(self, Sender::Visitor(_)) || self.takes_part(state) {
            return Ok(());
        }
        self.may_see(index, state)?;
        Err(ErrorCode::NotParticipant.into())
    }

    /// What the sender may do to what was said.
    const fn right(self) -> Right {
        match self {
            Sender::Visitor(_) => Right::Visitor,
            Sender::Staff { role: Role::Agent, .. } => Right::Agent,
            Sender::Staff { role: Role::Supervisor | Role::Admin, .. } => Right::Supervisor,
        }
    }

    /// Whether the sender is one of the people of this thread.
    pub fn takes_part(self, state: &LifeState) -> bool {
        match self {
            Sender::Visitor(visitor) => state.visitor_id == visitor,
            Sender::Staff { agent, .. } => {
                state.assignee_id == Some(agent) || state.participants.contains(&agent)
            }
        }
    }

    /// Agents see conversations of their groups and their own, supervisors all. What one may not see is not there.
    pub fn may_see(self, index: &Index, state: &LifeState) -> Result<(), ErrorBody> {
        if let Sender::Visitor(_) = self {
            return Ok(());
        }
        if self.takes_part(state) || self.sees_group(index, state.group_id) {
            return Ok(());
        }
        Err(ErrorCode::NotFound.into())
    }

    /// Whether conversations of a group, or of none, are the sender's business.
    pub fn sees_group(self, index: &Index, group: Option<GroupId>) -> bool {
        let Sender::Staff { tenant, agent, role } = self else { return false };
        let group = group.and_then(|group| index.group(tenant, group));
        role >= Role::Supervisor
            || group.is_none_or(|group| group.members.iter().any(|member| member.agent_id == agent))
    }
}

impl Worker {
    pub(super) fn on_send(&mut self, job: Box<SendJob>) {
        if !self.window.may_wait(self.queued, self.queued_bytes) {
            return job.refuse(&self.core.turned_away);
        }
        let home = job.draft.home;
        self.queued += 1;
        self.queued_bytes += job.bytes;
        self.rooms.entry(home).or_default().sends.push_back(job);
        self.pump(home);
    }

    fn pump(&mut self, home: ConversationSubjects) {
        loop {
            let has_room = self.window.admits(home.tenant) && self.wire.is_open();
            let Some(room) = self.rooms.get_mut(&home) else { return };
            if room.sending || room.sends.is_empty() || room.held.is_some() {
                break;
            }
            if !has_room {
                if !std::mem::replace(&mut room.blocked, true) {
                    self.blocked.push(home);
                }
                return;
            }
            let Some(job) = room.sends.pop_front() else { break };
            self.queued -= 1;
            self.queued_bytes -= job.bytes;
            if job.at.elapsed() > WAIT_MAX {
                job.refuse(&self.core.turned_away);
                continue;
            }
            room.sending = true;
            let known = room.life.clone();
            self.window.begin(job.load());
            self.write(home, job, known);
        }
        self.tidy(home);
    }

    /// Writes at once what needs no reading before; everything else is a future.
    fn write(&mut self, home: ConversationSubjects, job: Box<SendJob>, known: Option<Life>) {
        let Some(life) = known.filter(|_| !refers(&job.draft.body)) else {
            return self.send_after(home, job, None, None);
        };
        let index = self.core.directory.now();
        let may = |state: &LifeState| job.sender.may_send(&index, state, &job.draft);
        let Some(write) = chat::first_write(&job.draft, &life, may) else {
            return self.send_after(home, job, Some(life), None);
        };
        let key = self.next_write;
        self.next_write += 1;
        match self.log(home).begin(&self.wire, key, &write) {
            Ok(()) => {
                self.writing.insert(key, Writing { job, life, began: Instant::now() });
            }
            Err(error) => self.send_after(home, job, Some(life), Some(error)),
        }
    }

    fn send_after(
        &self,
        home: ConversationSubjects,
        mut job: Box<SendJob>,
        known: Option<Life>,
        failed: Option<WriteError>,
    ) {
        let (log, core) = (self.log(home), self.core.clone());
        let write = async move {
            let result = stored(&core, &log, &mut job, known, failed).await;
            Done::Sent { job, result }
        };
        self.work.push(write.boxed());
    }

    /// The answer to a first write.
    pub(super) fn on_written(&mut self, key: u64, answer: Result<&[u8], Lost>) {
        let Some(Writing { job, life, began }) = self.writing.remove(&key) else { return };
        let home = job.draft.home;
        match self.log(home).outcome(began, answer) {
            Ok(written) => {
                let (event_id, seq, duplicate) = (job.draft.event_id(), written.seq, written.duplicate);
                self.on_sent(job, Ok(Sent { event_id, seq, duplicate, life }));
            }
            Err(error) => self.send_after(home, job, Some(life), Some(error)),
        }
    }

    pub(super) fn on_sent(&mut self, job: Box<SendJob>, result: Result<Sent, ErrorBody>) {
        let home = job.draft.home;
        self.window.end(job.load(), result.is_ok(), Instant::now());
        if let Some(room) = self.rooms.get_mut(&home) {
            room.sending = false;
            if let Ok(sent) = &result {
                room.learn(&sent.life);
            }
        }
        if result.is_ok() {
            self.core.measures.published.increment(1);
            self.signals.ended(home, job.draft.author);
        }
        let to_flush = match (result, job.answer) {
            (Ok(Sent { event_id, seq, duplicate, .. }), Stored::Event) => {
                job.reply.queue(Ok(SendAnswer { event_id, seq, duplicate }))
            }
            (Ok(_), Stored::Done) => job.reply.queue(Ok(Answered {})),
            (Err(error), _) => job.reply.queue::<Answered>(Err(error)),
        };
        self.dirty.extend(to_flush);
        self.pump(home);
        self.unblock();
    }

    /// Lets rooms go on that wait for the window.
    pub(super) fn unblock(&mut self) {
        while self.window.has_room() && self.wire.is_open() {
            let Some(next) = self.blocked.next(|tenant| self.window.admits(tenant)) else { break };
            if let Some(room) = self.rooms.get_mut(&next) {
                room.blocked = false;
            }
            self.pump(next);
        }
    }

    /// Refuses what has waited too long, also behind a write that is not answered.
    pub(super) fn refuse_late(&mut self) {
        for room in self.rooms.values_mut() {
            while room.sends.front().is_some_and(|job| job.at.elapsed() > WAIT_MAX) {
                let Some(job) = room.sends.pop_front() else { break };
                self.queued -= 1;
                self.queued_bytes -= job.bytes;
                job.refuse(&self.core.turned_away);
            }
        }
    }

    /// A router needs the conversation quiet: what is sent waits for a moment. Both audiences hear it, and a row of
    /// holds must not silence anybody: while one lasts, others say nothing.
    pub(super) fn hold(&mut self, home: ConversationSubjects, for_ms: u64) {
        let Some(room) = self.rooms.get_mut(&home).filter(|room| room.held.is_none()) else { return };
        let until = Instant::now() + Duration::from_millis(for_ms.min(HOLD_MS));
        room.held = Some(until);
        self.work.push(sleep_until(until).map(move |()| Done::Held { home }).boxed());
    }

    /// A hold is over, if it is this room's: another may have come to be under its name.
    pub(super) fn on_held(&mut self, home: ConversationSubjects) {
        if let Some(room) = self.rooms.get_mut(&home)
            && room.held.is_some_and(|until| until <= Instant::now())
        {
            room.held = None;
            self.pump(home);
        }
    }
}

impl SendJob {
    fn load(&self) -> Load {
        Load { tenant: self.draft.home.tenant, bytes: self.bytes }
    }

    /// There is too much of it; it was not begun.
    pub(super) fn refuse(self, turned_away: &TurnedAway) {
        turned_away.add(&self.draft);
        refuse(self.reply);
    }
}

/// Whether it names something that is looked up first: what was said before, or a file.
const fn refers(body: &Body) -> bool {
    matches!(body, Body::MessageEdited(_) | Body::MessageDeleted(_) | Body::FormFilled(_) | Body::File(_))
}

/// Stores a send, once what it refers to was found. `failed`: its first write, made under what is `known`.
async fn stored(
    core: &Core,
    log: &Log,
    job: &mut SendJob,
    known: Option<Life>,
    failed: Option<WriteError>,
) -> Result<Sent, ErrorBody> {
    let SendJob { draft, sender, .. } = job;
    let sender = *sender;
    if let Body::File(wanted) = &draft.body {
        let claim = core.files.claim(log, draft, wanted, clock::now(), DATA).await?;
        (draft.body, draft.retry) = (Body::File(claim.file.clone()), draft.retry || claim.again);
        let may = |state: &LifeState| sender.may_send(&core.directory.now(), state, draft);
        let outcome = chat::send(log, draft, known, may).await;
        core.files.claimed(claim, &outcome).await;
        return outcome;
    }
    if !refers(&draft.body) {
        let may = |state: &LifeState| sender.may_send(&core.directory.now(), state, draft);
        return chat::send_after(log, draft, known, failed, may).await;
    }
    let life = chat::life(log, draft.home).await?.ok_or(ErrorCode::NotFound)?;
    sender.may_see(&core.directory.now(), &life.state)?;
    let referred = chat::refer(log, draft, &life, sender.right(), clock::now(), DATA).await?;
    let (mut while_open, mut purge) = (false, None);
    match referred {
        Some(Referred::Stored { seq }) => {
            return Ok(Sent { event_id: draft.event_id(), seq, duplicate: true, life });
        }
        Some(Referred::To { thread, while_open: open, file }) => {
            (draft.thread, while_open) = (thread, open);
            if matches!(&draft.body, Body::MessageDeleted(delete) if delete.purge) {
                let only = || ErrorBody::field(format!("{DATA}/purge"), "only files have bytes to remove");
                purge = Some(core.files.purge(draft, file.ok_or_else(only)?, life.seq, clock::now()).await?);
            }
        }
        None => {}
    }
    let may = |state: &LifeState| {
        sender.may_send(&core.directory.now(), state, draft)?;
        let same = draft.thread.is_none_or(|thread| thread == state.thread_id);
        if while_open && !(same && state.status.is_open()) {
            return Err(ErrorCode::ThreadClosed.into());
        }
        Ok(())
    };
    let outcome = chat::send(log, draft, Some(life), may).await;
    if let Some(purge) = purge {
        core.files.purged(purge, &outcome).await;
    }
    outcome
}

/// More is wanted than can be stored in time.
pub(super) fn refuse(reply: Reply) {
    let error = ErrorBody::new(ErrorCode::Unavailable, "more is being sent than can be stored in time");
    let after = Duration::from_millis(rand::random_range(RETRY_AFTER_MS));
    reply.limited(Limit::SendQueue, error.after(after));
}
