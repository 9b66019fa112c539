//! Why a thread still waits: what would be decided about it now, and what is in the way of each who could have it.

use bus_schema::{
    ConversationId, ErrorCode, Timestamp,
    command::{Actor, Answer, Outcome, Waits},
    protocol::QueueView,
    state::{Decision, DecisionRule, QueueReason, ThreadStatus},
};

use super::{
    super::tenant::Tenant,
    announce,
    decide::{self, Ahead},
    lists, refused, thread,
};

pub fn explain(tenant: &Tenant, actor: &Actor, id: ConversationId, now: Timestamp) -> Outcome {
    if thread::as_agent(actor).is_none() && !thread::is_supervisor(actor) {
        return refused(ErrorCode::Forbidden, "reasons are for staff");
    }
    let Some(conversation) = tenant.conversations.get(&id).filter(|c| c.life_seq > 0) else {
        return refused(ErrorCode::NotFound, "no such conversation");
    };
    let waiting = conversation.stored_life().filter(|life| life.status == ThreadStatus::Queued);
    let Some(life) = waiting else {
        return Outcome::Accepted { answer: Answer::Explained { waits: None } };
    };
    if !lists::sees(tenant, actor, life.group_id) {
        return refused(ErrorCode::NotFound, "no such conversation");
    }
    let queue = tenant.config.queue_of(life.group_id);
    let desk = conversation.stored_desk();
    let candidates = decide::candidates(tenant, queue, desk, &Ahead::new(), now);
    let strategy = tenant.config.strategy(queue);
    let reason = match tenant.config.is_open(queue, now) {
        true => announce::reason(strategy, &candidates),
        false => QueueReason::OutsideHours,
    };
    let entry = desk.and_then(|desk| desk.queue.as_ref());
    let decision = Decision {
        strategy,
        config_revision: tenant.config.revision,
        candidates,
        chosen: None,
        rule: DecisionRule::NobodyFree,
        waiting_since: Some(entry.map_or(life.started_at, |entry| entry.since)),
        took_us: 0,
    };
    let rank = tenant
        .queues
        .get(&queue)
        .and_then(|queue| queue.waiting.iter().position(|key| key.conversation == id));
    let position = rank.and_then(|rank| u32::try_from(rank + 1).ok()).unwrap_or(1);
    let place = QueueView { position, wait_s: tenant.wait_s(queue, position) };
    let waits = Waits { thread_id: life.thread_id, place, reason, decision };
    Outcome::Accepted { answer: Answer::Explained { waits: Some(Box::new(waits)) } }
}
