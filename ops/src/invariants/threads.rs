//! Threads as the log shows them: what is open, who has it, who waits.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    AgentId, Body, ConversationId, GroupId, Lane, ThreadId, Timestamp,
    state::{CloseReason, Decision, DecisionRule, Priority, QueueEntry, ThreadStatus},
};

use super::{Invariant, Logged, Violation, agents::Agents};

#[derive(Default)]
pub(super) struct Threads {
    conversations: BTreeMap<ConversationId, Conversation>,
    started: usize,
}

#[derive(Default)]
struct Conversation {
    /// The open or last thread.
    thread: Option<Thread>,
    closed: BTreeSet<ThreadId>,
}

type Rank = (std::cmp::Reverse<Priority>, Timestamp, u64);

pub(super) struct Thread {
    id: ThreadId,
    status: ThreadStatus,
    assignee: Option<AgentId>,
    group: Option<GroupId>,
    started_at: Timestamp,
    started_seq: u64,
    waits: Option<(Priority, QueueEntry)>,
    /// When the log had it wait.
    waits_at: Timestamp,
    /// Not everybody who is free may have it.
    choosy: bool,
    /// Sequences of assignments and queueings that no decision has explained yet.
    unexplained: Vec<u64>,
    /// Decisions that nothing has used yet.
    decisions: usize,
}

impl Thread {
    pub(super) fn waiting_in(&self) -> Option<GroupId> {
        (self.status == ThreadStatus::Queued).then_some(self.group).flatten()
    }

    /// Smaller is served first. A thread that was never queued waits since its start.
    fn rank(&self) -> Rank {
        let (priority, since, seq) = match &self.waits {
            Some((priority, entry)) => (*priority, entry.since, entry.since_seq),
            None => (Priority::Normal, self.started_at, self.started_seq),
        };
        (std::cmp::Reverse(priority), since, seq)
    }
}

/// Who has a thread holds it, and nobody else does: in each batch agents come first. Not so between the two halves of a
/// handing over to a thread of its own, nor where an edge starts a thread.
fn held_by_its_assignee(
    id: ConversationId,
    logged: &Logged,
    agents: &Agents,
    violations: &mut Vec<Violation>,
) {
    let body = &logged.event.body;
    let between = match body {
        Body::Started(_) => true,
        Body::Closed(closed) => closed.reason == CloseReason::Reassigned,
        _ => false,
    };
    let Some(state) = body.life_state().filter(|_| !between) else { return };
    let holders: Vec<AgentId> = agents.holders(id).collect();
    if holders != Vec::from_iter(state.assignee_id) {
        let what = format!("{}: {id} has {:?} and is held by {holders:?}", body.name(), state.assignee_id);
        violations.push(Violation { invariant: Invariant::OneAssignee, seq: logged.seq, what });
    }
}

impl Threads {
    pub(super) fn conversations(&self) -> usize {
        self.conversations.len()
    }

    pub(super) const fn started(&self) -> usize {
        self.started
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (ConversationId, &Thread)> {
        let open = |c: &'_ Conversation| c.thread.as_ref().is_some_and(|t| t.status.is_open());
        self.conversations
            .iter()
            .filter(move |(_, c)| open(c))
            .filter_map(|(id, c)| Some((*id, c.thread.as_ref()?)))
    }

    pub(super) fn apply(
        &mut self,
        (conversation, lane): (ConversationId, Lane),
        logged: &Logged,
        agents: &Agents,
        violations: &mut Vec<Violation>,
    ) {
        match lane {
            Lane::Life => {
                self.life(conversation, logged, violations);
                held_by_its_assignee(conversation, logged, agents, violations);
            }
            Lane::Desk => self.desk(conversation, logged, violations),
            Lane::Msg | Lane::Note | Lane::Mark => self.said(conversation, logged, violations),
        }
    }

    fn life(&mut self, id: ConversationId, logged: &Logged, violations: &mut Vec<Violation>) {
        let Some(state) = logged.event.body.life_state() else { return };
        let mut found = |invariant, what| violations.push(Violation { invariant, seq: logged.seq, what });
        let conversation = self.conversations.entry(id).or_default();
        let starts = matches!(logged.event.body, Body::Started(_) | Body::Reopened(_));
        let open = conversation.thread.as_ref().filter(|thread| thread.status.is_open());
        match (open, starts) {
            (Some(open), true) => {
                found(
                    Invariant::OneThread,
                    format!("{} starts in {id} while {} is open", state.thread_id, open.id),
                );
            }
            (None, true) if conversation.closed.contains(&state.thread_id) => {
                found(Invariant::ClosedIsClosed, format!("{} is opened again", state.thread_id));
            }
            (Some(open), false) if open.id != state.thread_id => {
                found(Invariant::OneThread, format!("{} changes while {} is open", state.thread_id, open.id));
            }
            (None, false) => {
                found(Invariant::ClosedIsClosed, format!("{} changes after its close", state.thread_id));
            }
            _ => {}
        }
        let active = state.status == ThreadStatus::Active;
        if active != state.assignee_id.is_some() && state.status != ThreadStatus::Closed {
            found(
                Invariant::OneAssignee,
                format!("status {} with assignee {:?}", state.status.name(), state.assignee_id),
            );
        }
        if starts {
            self.started += 1;
            conversation.thread = None;
        }
        let thread = conversation.thread.get_or_insert_with(|| Thread {
            id: state.thread_id,
            status: state.status,
            assignee: None,
            group: state.group_id,
            started_at: logged.at,
            started_seq: logged.seq,
            waits: None,
            waits_at: logged.at,
            choosy: false,
            unexplained: Vec::new(),
            decisions: 0,
        });
        thread.status = state.status;
        thread.assignee = state.assignee_id;
        thread.group = state.group_id;
        if matches!(logged.event.body, Body::Assigned(_) | Body::Queued(_) | Body::Transferred(_)) {
            match thread.decisions.checked_sub(1) {
                Some(rest) => thread.decisions = rest,
                None => thread.unexplained.push(logged.seq),
            }
        }
        if state.status == ThreadStatus::Closed {
            conversation.closed.insert(state.thread_id);
        }
    }

    fn desk(&mut self, id: ConversationId, logged: &Logged, violations: &mut Vec<Violation>) {
        let Some(state) = logged.event.body.desk_state() else { return };
        let rank = self.conversations.get(&id).and_then(|c| c.thread.as_ref()).map(Thread::rank);
        if let Body::Decided(decided) = &logged.event.body {
            let decided_at = state.last_assigned_at.unwrap_or(logged.at);
            self.fifo(id, (rank, decided_at), &decided.decision, logged, violations);
        }
        let Some(thread) = self.conversations.get_mut(&id).and_then(|c| c.thread.as_mut()) else { return };
        if thread.id != state.thread_id {
            return;
        }
        if thread.waits.is_none() && state.queue.is_some() {
            thread.waits_at = logged.at;
        }
        thread.waits = state.queue.clone().map(|entry| (state.priority, entry));
        thread.choosy = !state.skills.is_empty() || !state.avoid.is_empty();
        let Body::Decided(decided) = &logged.event.body else { return };
        let beside = matches!(
            decided.decision.rule,
            DecisionRule::Joined
                | DecisionRule::Left
                | DecisionRule::TimedOut
                | DecisionRule::VisitorLeft
                | DecisionRule::VisitorBack
        );
        if !beside && thread.unexplained.pop().is_none() {
            thread.decisions += 1;
        }
    }

    /// Nobody who waits longer in the same group, at the same priority or above, is passed over by a rule, unless not
    /// everybody is right for them, or they waited in the log only after it was decided: an agent's threads come back with
    /// the places that they had, while others are being served.
    fn fifo(
        &self,
        id: ConversationId,
        (rank, decided_at): (Option<Rank>, Timestamp),
        decision: &Decision,
        logged: &Logged,
        violations: &mut Vec<Violation>,
    ) {
        let by_rule = matches!(
            decision.rule,
            DecisionRule::LeastLoaded | DecisionRule::RoundRobin | DecisionRule::Sticky
        );
        let (true, Some(chosen), Some(rank)) = (by_rule, decision.chosen, rank) else { return };
        let Some(group) = self.conversations.get(&id).and_then(|c| c.thread.as_ref()).and_then(|t| t.group)
        else {
            return;
        };
        let passed_over = self.open().find(|(other, thread)| {
            *other != id
                && thread.waits.is_some()
                && thread.waits_at < decided_at
                && !thread.choosy
                && thread.waiting_in() == Some(group)
                && thread.rank() < rank
        });
        if let Some((other, _)) = passed_over {
            let what = format!("{id} went to {chosen} while {other} waits longer");
            violations.push(Violation { invariant: Invariant::Fifo, seq: logged.seq, what });
        }
    }

    fn said(&mut self, id: ConversationId, logged: &Logged, violations: &mut Vec<Violation>) {
        let content = logged.event.body.kind().is_some_and(|kind| kind.ends_with_thread());
        let (true, Some(thread)) = (content, logged.event.thread_id) else { return };
        let mut found = |invariant, what| violations.push(Violation { invariant, seq: logged.seq, what });
        let Some(conversation) = self.conversations.get(&id) else {
            found(Invariant::WellFormed, format!("content in {id} before any thread"));
            return;
        };
        if conversation.closed.contains(&thread) {
            found(Invariant::ClosedIsClosed, format!("content of {thread} after its close"));
        } else if conversation.thread.as_ref().is_none_or(|open| open.id != thread) {
            found(Invariant::WellFormed, format!("content of {thread}, which is not the open thread"));
        }
    }

    pub(super) fn at_end(&self, agents: &Agents, violations: &mut Vec<Violation>) {
        for (id, conversation) in &self.conversations {
            let Some(thread) = &conversation.thread else { continue };
            for seq in &thread.unexplained {
                let what = format!("no decision explains what happened to {}", thread.id);
                violations.push(Violation { invariant: Invariant::Explained, seq: *seq, what });
            }
            let assignee = thread.assignee.filter(|_| thread.status == ThreadStatus::Active);
            let holders: Vec<AgentId> = agents.holders(*id).collect();
            if holders != Vec::from_iter(assignee) {
                let what = format!("{id} has assignee {assignee:?} and is held by {holders:?}");
                violations.push(Violation { invariant: Invariant::OneAssignee, seq: 0, what });
            }
        }
    }
}
