//! What time does to a thread: each by an ordinary write that ends what made it due, so it happens once.

use bus_schema::{
    AgentId, Author, Body, ConversationId, Timestamp,
    config::Rules,
    event::{AgentLoad, AgentLost, AgentLostReason, AgentStatusSet, Closed, Idle, SkillsWaived, Unanswered},
    state::{
        Avoid, CloseReason, DecisionRule, DeskState, LifeState, QueueReason, RoutingStatus, ThreadStatus,
    },
};

use super::{
    super::{
        conversation::Conversation,
        plan::{After, Plan, Step},
        settings::AVOIDED_FOR,
        shared::Shared,
        sight,
        slot::Key,
        tenant::Tenant,
        timers::{self, What},
    },
    decide::{self, Why},
};

struct About<'a> {
    tenant: &'a Tenant,
    id: ConversationId,
    conversation: &'a Conversation,
    life: &'a LifeState,
    rules: Rules,
    now: Timestamp,
}

/// Does what is due for a thread; nothing if that is not yet, or cannot be just now.
pub fn expire(tenant: &Tenant, id: ConversationId, shared: &Shared) -> Step {
    let able = |c: &&Conversation| c.lock.is_free() && !c.is_frozen() && !c.is_asked_for();
    let Some(conversation) = tenant.conversations.get(&id).filter(able) else { return Step::Nothing };
    let Some(life) = conversation.life() else { return Step::Nothing };
    let rules = tenant.config.rules(tenant.config.queue_of(life.group_id));
    let Some(due) = timers::next(conversation, &rules).filter(|due| due.at <= shared.now) else {
        return Step::Nothing;
    };
    let about = About { tenant, id, conversation, life, rules, now: shared.now };
    match due.what {
        What::Look => Step::Look(id),
        What::QueueEnds => about.close(CloseReason::QueueTimeout),
        What::SkillsWaived => about.waive(),
        What::Unanswered => about.unanswered(shared),
        What::Idle(since) => about.idle(since),
        What::IdleEnds => about.close(CloseReason::Idle),
        What::AskEdges => Step::AskEdges(id),
        What::VisitorLeft(until) => about.visitor(DecisionRule::VisitorLeft, |desk| sight::left(desk, until)),
        What::VisitorBack => about.visitor(DecisionRule::VisitorBack, sight::back),
        What::VisitorGone => about.close(CloseReason::VisitorGone),
    }
}

impl About<'_> {
    fn waive(&self) -> Step {
        let mut state = self.conversation.next_desk(self.life);
        state.skills_waived = true;
        timers::wants_skills(&mut state, &self.rules, self.now);
        let mut plan = Plan::new(After::Again);
        plan.desk(self.id, Author::SYSTEM, None, Body::SkillsWaived(SkillsWaived { state }));
        Step::Write(plan)
    }

    fn idle(&self, since: Timestamp) -> Step {
        let mut desk = self.conversation.next_desk(self.life);
        timers::idle(&mut desk, since, &self.rules, self.now);
        let mut plan = Plan::new(After::Again);
        plan.life(self.id, Author::SYSTEM, None, Body::Idle(Idle { since, state: self.life.clone() }));
        self.explain(&mut plan, DecisionRule::TimedOut, desk);
        Step::Write(plan)
    }

    fn visitor(&self, rule: DecisionRule, change: impl FnOnce(&mut DeskState)) -> Step {
        let mut desk = self.conversation.next_desk(self.life);
        change(&mut desk);
        let mut plan = Plan::new(After::Again);
        self.explain(&mut plan, rule, desk);
        Step::Write(plan)
    }

    fn close(&self, reason: CloseReason) -> Step {
        let mut plan = Plan::new(After::Again);
        if let Some(assignee) = self.life.assignee_id {
            if self.tenant.is_locked(Key::Agent(assignee)) {
                return Step::Nothing;
            }
            if let Some(state) = decide::without(self.tenant, self.id, self.life) {
                plan.agent(None, Body::AgentLoad(AgentLoad { state }));
            }
        }
        let mut next = self.life.clone();
        (next.status, next.assignee_id) = (ThreadStatus::Closed, None);
        next.participants.clear();
        let closed = Closed { by: Author::SYSTEM, reason, state: next };
        plan.life(self.id, Author::SYSTEM, None, Body::Closed(closed));
        self.explain(&mut plan, DecisionRule::TimedOut, self.conversation.next_desk(self.life));
        Step::Write(plan)
    }

    /// Takes it from who does not answer, and puts it where it waited before; who does it often gets no more.
    fn unanswered(&self, shared: &Shared) -> Step {
        let Some(agent) = self.life.assignee_id else { return Step::Nothing };
        if self.tenant.is_locked(Key::Agent(agent)) {
            return Step::Nothing;
        }
        let mut plan = Plan::new(After::Again);
        if let Some(body) = self.missed(agent, shared) {
            plan.agent(None, body);
        }
        let mut next = self.life.clone();
        (next.status, next.assignee_id) = (ThreadStatus::Queued, None);
        next.participants.retain(|participant| *participant != agent);
        let mut state = self.conversation.next_desk(self.life);
        state.queue = Some(self.conversation.queue_entry(self.life, QueueReason::AgentLost));
        state.misses = state.misses.saturating_add(1);
        state.avoid.retain(|avoid| avoid.agent_id != agent && avoid.until > self.now);
        state.avoid.push(Avoid { agent_id: agent, until: self.now.plus(AVOIDED_FOR) });
        timers::waits(&mut state, &self.rules, self.now);
        let lost = AgentLost { agent_id: agent, reason: AgentLostReason::Unanswered, state: next };
        plan.life(self.id, Author::SYSTEM, None, Body::AgentLost(lost));
        plan.desk(self.id, Author::SYSTEM, None, Body::Unanswered(Unanswered { agent_id: agent, state }));
        Step::Write(plan)
    }

    fn missed(&self, id: AgentId, shared: &Shared) -> Option<Body> {
        let agent = self.tenant.agents.get(&id).filter(|agent| !agent.is_frozen())?;
        let mut state = agent.next(self.tenant.config.agent(id), &shared.leases, self.now)?;
        state.conversations.retain(|held| held.conversation_id != self.id);
        state.misses = state.misses.saturating_add(1);
        let accepts = state.status == RoutingStatus::Accepting;
        if accepts && self.rules.misses_max.is_some_and(|max| state.misses >= max) {
            (state.status, state.misses) = (RoutingStatus::NotAccepting, 0);
            return Some(Body::AgentStatusSet(AgentStatusSet { state }));
        }
        Some(Body::AgentLoad(AgentLoad { state }))
    }

    fn explain(&self, plan: &mut Plan, rule: DecisionRule, desk: DeskState) {
        let why = Why { strategy: None, rule, candidates: Vec::new(), author: Author::SYSTEM, cause: None };
        let since = desk.queue.as_ref().map(|entry| entry.since);
        plan.decided(self.id, Author::SYSTEM, None, why.decision(self.tenant, None, since), desk);
    }
}
