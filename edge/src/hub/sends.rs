//! Sends: one write of a conversation in flight, concurrent over conversations, bounded in time over all.

use std::time::Duration;

use bus_schema::{
    AgentId, ErrorBody, ErrorCode, TenantId, Visibility, VisitorId, claims::Role, protocol::SendAnswer,
    state::LifeState, subject::ConversationSubjects,
};
use futures::FutureExt as _;
use ops::chat::{self, Draft, Sent};
use tokio::time::Instant;

use super::{io::Done, worker::Worker};
use crate::{conn::Reply, directory::Index};

/// Sends that wait on one worker; more are refused.
const QUEUED_MAX: usize = 4_096;
/// A send that could not begin within this time is refused.
const WAIT_MAX: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A send with who asked for it.
#[derive(Debug)]
pub struct SendJob {
    pub reply: Reply,
    pub draft: Draft,
    pub sender: Sender,
    pub at: Instant,
}

/// Who sends, and what that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Visitor(VisitorId),
    Staff { tenant: TenantId, agent: AgentId, role: Role },
}

impl Sender {
    /// Whether the sender may say this in a conversation in this state. Visitors are bound to their own by its id.
    pub fn may_send(self, index: &Index, state: &LifeState, visibility: Visibility) -> Result<(), ErrorBody> {
        if let Sender::Visitor(_) = self {
            return Ok(());
        }
        if self.takes_part(state) {
            return Ok(());
        }
        self.may_see(index, state)?;
        match visibility {
            Visibility::Agents => Ok(()),
            Visibility::All => Err(ErrorCode::NotParticipant.into()),
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
        let Sender::Staff { tenant, agent, role } = self else { return Ok(()) };
        let own = self.takes_part(state);
        let in_group = || {
            let group = state.group_id.and_then(|group| index.group(tenant, group));
            group.is_none_or(|group| group.members.iter().any(|member| member.agent_id == agent))
        };
        if own || role >= Role::Supervisor || in_group() { Ok(()) } else { Err(ErrorCode::NotFound.into()) }
    }
}

impl Worker {
    pub(super) fn on_send(&mut self, job: Box<SendJob>) {
        if self.queued >= QUEUED_MAX {
            return job.reply.fail(busy());
        }
        let home = job.draft.home;
        self.queued += 1;
        self.rooms.entry(home).or_default().sends.push_back(job);
        self.pump(home);
    }

    fn pump(&mut self, home: ConversationSubjects) {
        loop {
            let has_room = self.window.has_room();
            let Some(room) = self.rooms.get_mut(&home) else { return };
            if room.sending || room.sends.is_empty() {
                break;
            }
            if !has_room {
                if !std::mem::replace(&mut room.blocked, true) {
                    self.blocked.push_back(home);
                }
                return;
            }
            let Some(job) = room.sends.pop_front() else { break };
            self.queued -= 1;
            if job.at.elapsed() > WAIT_MAX {
                job.reply.fail(busy());
                continue;
            }
            room.sending = true;
            let known = room.life.clone();
            self.window.begin();
            let (log, core) = (self.log(home), self.core.clone());
            let write = async move {
                let (sender, visibility) = (job.sender, job.draft.visibility);
                let may = |state: &LifeState| sender.may_send(&core.directory.now(), state, visibility);
                let result = chat::send(&log, &job.draft, known, may).await;
                Done::Sent { job, result }
            };
            self.work.push(write.boxed());
        }
        self.tidy(home);
    }

    pub(super) fn on_sent(&mut self, job: Box<SendJob>, result: Result<Sent, ErrorBody>) {
        let home = job.draft.home;
        self.window.end(result.is_ok(), Instant::now());
        if let Some(room) = self.rooms.get_mut(&home) {
            room.sending = false;
            if let Ok(sent) = &result {
                room.learn(&sent.life);
            }
        }
        if result.is_ok() {
            self.core.measures.published.increment(1);
        }
        job.reply.with(result.map(|sent| SendAnswer {
            event_id: sent.event_id,
            seq: sent.seq,
            duplicate: sent.duplicate,
        }));
        self.pump(home);
        while self.window.has_room() {
            let Some(next) = self.blocked.pop_front() else { break };
            if let Some(room) = self.rooms.get_mut(&next) {
                room.blocked = false;
            }
            self.pump(next);
        }
    }
}

fn busy() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "more is being sent than can be stored in time").after(RETRY_AFTER)
}
