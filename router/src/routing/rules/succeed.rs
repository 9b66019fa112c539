//! `thread_per_assignment`: who is given an active thread that somebody else had gets its successor, in one atomic step.
//!
//! The one ends with `reassigned` and the next begins in the same batch, so no send and no reader finds nothing open
//! between them. The successor's id is the command's: a repeat cannot open a second one.

use bus_schema::{
    AgentId, Body, ConversationId, ThreadId, Timestamp,
    command::CommandRequest,
    event::{Closed, Started},
    state::{CloseReason, LifeState, StartSource, ThreadStatus},
};

use super::super::{plan::Plan, tenant::Tenant};

/// The thread that goes on once `agent` has it, where that is to be another one.
pub fn successor(
    tenant: &Tenant,
    request: &CommandRequest,
    life: &LifeState,
    agent: AgentId,
    now: Timestamp,
) -> Option<LifeState> {
    let had = life.assignee_id.filter(|had| *had != agent && tenant.config.thread_per_assignment())?;
    let mut next = LifeState {
        thread_id: ThreadId::from_uuid(request.command_id.uuid()),
        status: ThreadStatus::Queued,
        assignee_id: None,
        started_at: now,
        started_seq: None,
        previous_thread_id: Some(life.thread_id),
        continues: true,
        ..life.clone()
    };
    next.participants.retain(|participant| *participant != had);
    Some(next)
}

/// Adds to `plan` what ends a thread and begins its successor.
pub fn pass_on(
    plan: &mut Plan,
    id: ConversationId,
    request: &CommandRequest,
    life: &LifeState,
    next: &LifeState,
) {
    let (by, cause) = (request.actor.author, Some(request.command_id.uuid()));
    let mut over = life.clone();
    (over.status, over.assignee_id) = (ThreadStatus::Closed, None);
    over.participants.clear();
    plan.life(id, by, cause, Body::Closed(Closed { by, reason: CloseReason::Reassigned, state: over }));
    let started = Started {
        group_id: next.group_id,
        widget_id: next.widget_id,
        source: StartSource::Reassigned,
        state: next.clone(),
    };
    plan.life(id, by, cause, Body::Started(started));
}
