//! Transfers: the thread goes on with somebody else, or waits in a group's queue, with all that was said and decided.

use bus_schema::{
    AgentId, Body, ConversationId, ErrorBody, ErrorCode, GroupId, ThreadId,
    command::CommandRequest,
    config::{GroupRecord, WhenOffline},
    event::{AgentLoad, Place, Transferred},
    protocol::GroupStatus,
    state::{AgentState, AgentStatus, Avoid, DecisionRule, LifeState, QueueEntry, QueueReason, ThreadStatus},
};

use super::{
    super::{
        conversation::Conversation,
        plan::{After, Plan, Step},
        settings::AVOIDED_FOR,
        shared::Shared,
        slot::Key,
        tenant::Tenant,
        timers,
    },
    decide::{self, Ahead, Why},
    groups::status_of_group,
    refused, succeed, thread,
};

/// Where to.
#[derive(Debug, Clone, Copy)]
pub struct To {
    pub agent: Option<AgentId>,
    pub group: Option<GroupId>,
    /// Let it wait if nobody can take it now.
    pub queue: bool,
}

/// What a transfer is about.
struct About<'a> {
    tenant: &'a Tenant,
    request: &'a CommandRequest,
    id: ConversationId,
    conversation: &'a Conversation,
    life: &'a LifeState,
    shared: &'a Shared,
}

pub fn transfer(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    to: To,
    shared: &Shared,
) -> Step {
    let (conversation, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    let own = thread::as_agent(&request.actor).is_some_and(|agent| life.assignee_id == Some(agent));
    if !own && !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::NotParticipant, "only the assignee and supervisors transfer"));
    }
    if let Some(from) = life.assignee_id.map(Key::Agent).filter(|key| tenant.is_locked(*key)) {
        return Step::Blocked(from);
    }
    let about = About { tenant, request, id, conversation, life, shared };
    match (to.agent, to.group) {
        (Some(agent), None) => about.to_agent(agent, to.queue),
        (None, Some(group)) => about.to_group(group, to.queue),
        _ => Step::Reply(ErrorBody::field("/to", "name an agent or a group, and not both").into()),
    }
}

impl About<'_> {
    fn to_agent(&self, agent: AgentId, queue: bool) -> Step {
        let (tenant, life) = (self.tenant, self.life);
        if life.assignee_id == Some(agent) {
            return Step::Reply(thread::done(life.thread_id, life.assignee_id, self.conversation.life_seq));
        }
        if tenant.config.agent(agent).is_none() {
            return Step::Reply(refused(ErrorCode::NotFound, "no such agent"));
        }
        if tenant.is_locked(Key::Agent(agent)) {
            return Step::Blocked(Key::Agent(agent));
        }
        let unavailable = match self.ready(agent, life.group_id) {
            Ok(state) => return self.hand_over(state, life.group_id),
            Err(code) => code,
        };
        if !queue {
            return Step::Reply(ErrorBody::from(unavailable).into());
        }
        if life.assignee_id.is_none() {
            // It waits already, and keeps its place.
            return Step::Reply(thread::done(life.thread_id, None, self.conversation.life_seq));
        }
        let group = life
            .group_id
            .and_then(|id| Some((tenant.config.group(id)?, status_of_group(tenant, id, self.shared.now))));
        match group.and_then(|(group, status)| self.turned_away(group, status)) {
            Some(code) => Step::Reply(ErrorBody::from(code).into()),
            None => self.wait(life.group_id),
        }
    }

    /// The agent's state to write over, if they can take it now.
    fn ready(&self, agent: AgentId, group: Option<GroupId>) -> Result<AgentState, ErrorCode> {
        let record = self.tenant.config.agent(agent).filter(|record| !record.deleted);
        let slot = self.tenant.agents.get(&agent).filter(|slot| !slot.is_frozen());
        let state = slot.and_then(|slot| slot.next(record, &self.shared.leases, self.shared.now));
        let there = |state: &AgentState| !state.deleted && state.seen_status() == AgentStatus::Accepting;
        let state =
            state.filter(|state| record.is_some() && there(state)).ok_or(ErrorCode::AgentUnavailable)?;
        let queue = self.tenant.config.queue_of(group);
        if self.tenant.config.has_room(queue, &state) { Ok(state) } else { Err(ErrorCode::OverCapacity) }
    }

    fn to_group(&self, group: GroupId, queue: bool) -> Step {
        let (tenant, life) = (self.tenant, self.life);
        let Some(record) = tenant.config.group(group) else {
            return Step::Reply(refused(ErrorCode::NotFound, "no such group"));
        };
        if life.assignee_id.is_none() && life.group_id == Some(group) {
            return Step::Reply(thread::done(life.thread_id, None, self.conversation.life_seq));
        }
        let automatic = tenant.config.automatic(Some(group)).is_some() && !tenant.config.offers(Some(group));
        if let Some(agent) = self.somebody(group).filter(|_| automatic) {
            if tenant.is_locked(Key::Agent(agent)) {
                return Step::Blocked(Key::Agent(agent));
            }
            if let Ok(state) = self.ready(agent, Some(group)) {
                return self.hand_over(state, Some(group));
            }
        }
        let status = status_of_group(tenant, group, self.shared.now);
        // Where agents take for themselves, waiting is how they are asked.
        let asked = !automatic && status == GroupStatus::Online;
        match self.turned_away(record, status) {
            Some(code) => Step::Reply(ErrorBody::from(code).into()),
            None if queue || asked => self.wait(Some(group)),
            None if status == GroupStatus::Offline => {
                Step::Reply(ErrorBody::from(ErrorCode::GroupOffline).into())
            }
            None if self.accepting(group) => Step::Reply(ErrorBody::from(ErrorCode::OverCapacity).into()),
            None => Step::Reply(ErrorBody::from(ErrorCode::AgentUnavailable).into()),
        }
    }

    /// Whose turn it is in the group, beyond those whom its own queue needs.
    fn somebody(&self, group: GroupId) -> Option<AgentId> {
        let queue = self.tenant.queues.get(&Some(group))?;
        let desk = self.conversation.desk();
        if !self.tenant.config.is_open(Some(group), self.shared.now) {
            return None;
        }
        let fits = |agent: &AgentId| {
            self.life.assignee_id != Some(*agent)
                && decide::unfit(self.tenant, desk, *agent, self.shared.now).is_none()
        };
        let free = queue.eligible.len() > queue.waiting.len();
        let mut agents = queue.eligible.iter().map(|key| key.agent).filter(fits);
        agents.next().filter(|_| free)
    }

    /// Why nobody may wait there, asked for or not.
    fn turned_away(&self, group: &GroupRecord, status: GroupStatus) -> Option<ErrorCode> {
        let waiting = self.tenant.queues.get(&Some(group.group_id)).map_or(0, |queue| queue.waiting.len());
        if group.queue_max.is_some_and(|max| waiting >= max as usize) {
            return Some(ErrorCode::QueueFull);
        }
        let closed = group.when_offline == WhenOffline::Close && status == GroupStatus::Offline;
        closed.then_some(ErrorCode::GroupOffline)
    }

    fn accepting(&self, group: GroupId) -> bool {
        let mut members = decide::members(self.tenant, Some(group));
        members.any(|(agent, _)| {
            let state = self.tenant.agents.get(&agent).and_then(|agent| agent.state());
            state.is_some_and(|state| state.seen_status() == AgentStatus::Accepting)
        })
    }

    fn hand_over(&self, mut to: AgentState, group: Option<GroupId>) -> Step {
        let agent = to.agent_id;
        let successor = succeed::successor(self.tenant, self.request, self.life, agent, self.shared.now);
        let life = successor.as_ref().unwrap_or(self.life);
        let outcome = thread::done(life.thread_id, Some(agent), 0);
        let mut plan = Plan::new(After::Reply(outcome.clone()));
        let why = self.why(decide::named(self.tenant, agent));
        self.release(&mut plan, &why);
        let mut next = decide::with_assignee(life, agent);
        next.participants.retain(|participant| Some(*participant) != self.life.assignee_id);
        next.group_id = group;
        decide::hold(&mut to, self.id, &next, self.shared.now);
        plan.agent(why.cause, Body::AgentLoad(AgentLoad { state: to }));
        if let Some(next) = &successor {
            succeed::pass_on(&mut plan, self.id, self.request, self.life, next);
        }
        let (mut desk, waiting_since) = decide::served(self.conversation, life, agent, self.shared.now);
        thread::remember(&mut desk.commands, self.request, outcome);
        self.moved(&mut plan, &why, next);
        let (author, cause) = (why.author, why.cause);
        let decision = why.decision(self.tenant, Some(agent), waiting_since);
        plan.decided(self.id, author, cause, decision, desk);
        Step::Write(plan)
    }

    /// From now on it waits there: behind those who came before, and not for who has just passed it on.
    fn wait(&self, group: Option<GroupId>) -> Step {
        let now = self.shared.now;
        let outcome = thread::done(self.life.thread_id, None, 0);
        let mut plan = Plan::new(After::Reply(outcome.clone()));
        let queue = self.tenant.config.queue_of(group);
        let mut desk = self.conversation.next_desk(self.life);
        let reason = QueueReason::Transferred;
        desk.queue =
            Some(QueueEntry { group_id: group, since: now, since_seq: self.conversation.life_seq, reason });
        desk.offers.clear();
        timers::waits(&mut desk, &self.tenant.config.rules(queue), now);
        desk.avoid = Vec::from_iter(
            self.life.assignee_id.map(|agent_id| Avoid { agent_id, until: now.plus(AVOIDED_FOR) }),
        );
        thread::remember(&mut desk.commands, self.request, outcome);
        let why = self.why(decide::candidates(self.tenant, queue, Some(&desk), &Ahead::new(), now));
        self.release(&mut plan, &why);
        let mut next = self.life.clone();
        (next.status, next.assignee_id, next.group_id) = (ThreadStatus::Queued, None, group);
        next.participants.retain(|participant| Some(*participant) != self.life.assignee_id);
        self.moved(&mut plan, &why, next);
        let (author, cause) = (why.author, why.cause);
        let decision = why.decision(self.tenant, None, Some(now));
        plan.decided(self.id, author, cause, decision, desk);
        Step::Write(plan)
    }

    fn why(&self, candidates: Vec<bus_schema::state::Candidate>) -> Why {
        Why {
            strategy: None,
            rule: DecisionRule::Transferred,
            candidates,
            author: self.request.actor.author,
            cause: Some(self.request.command_id.uuid()),
        }
    }

    /// The slot of whoever has it now.
    fn release(&self, plan: &mut Plan, why: &Why) {
        if let Some(state) = decide::without(self.tenant, self.id, self.life) {
            plan.agent(why.cause, Body::AgentLoad(AgentLoad { state }));
        }
    }

    fn moved(&self, plan: &mut Plan, why: &Why, next: LifeState) {
        let place = |life: &LifeState| Place { agent_id: life.assignee_id, group_id: life.group_id };
        let (from, to) = (place(self.life), place(&next));
        plan.life(self.id, why.author, why.cause, Body::Transferred(Transferred { from, to, state: next }));
    }
}
