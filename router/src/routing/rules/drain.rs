//! Queues: the longest waiting goes to the first who is free, or to who had the visitor before.

use std::collections::btree_map::Entry;

use bus_schema::{AgentId, Author, Body, ConversationId, Timestamp, event::AgentLoad, state::DecisionRule};

use super::{
    super::{
        config::Automatic,
        plan::{After, Plan, Step},
        queue::{AgentKey, Queue},
        settings::LOOKED_AT_MAX,
        shared::Shared,
        slot::{Key, QueueId},
        tenant::Tenant,
    },
    announce::announce,
    decide::{self, Ahead, Why},
    offer::offer,
};

pub fn drain(tenant: &mut Tenant, queue: QueueId, shared: &Shared) -> Step {
    let Some(entry) = tenant.queues.get(&queue) else { return Step::Nothing };
    let serves = !entry.eligible.is_empty() && tenant.config.is_open(queue, shared.now);
    let Some(automatic) = tenant.config.automatic(queue).filter(|_| serves) else {
        // Whoever is written of right now is told later, and holds up nobody behind them.
        let mut untold = entry.unannounced.iter().take(LOOKED_AT_MAX).map(|key| key.conversation);
        let next = untold.find(|id| !tenant.is_locked(Key::Conversation(*id)));
        return next.map_or(Step::Nothing, |id| announce(tenant, queue, id, shared.now));
    };
    if tenant.config.offers(queue) {
        let (step, again) = offer(tenant, queue, entry, shared);
        tenant.avoided.extend(again.map(|at| (at, queue)));
        return step;
    }
    let given = give(tenant, queue, entry, automatic, shared);
    if let Some(until) = given.look_again {
        tenant.avoided.insert((until, queue));
    }
    match (given.plan.changes.is_empty(), given.untold) {
        (false, _) => Step::Write(given.plan),
        (true, Some(id)) => announce(tenant, queue, id, shared.now),
        (true, None) => Step::Nothing,
    }
}

/// What looking through a queue came to.
struct Given {
    plan: Plan,
    /// The first for whom nobody is right, and whom nobody told yet that they wait.
    untold: Option<ConversationId>,
    /// When somebody who was passed over for one of them no longer is.
    look_again: Option<Timestamp>,
}

/// The first of the queue and the first of the agents belong together, again and again: nobody overtakes either while
/// a write of theirs is under way. Only a thread that is not for anybody who is free lets others go before it.
fn give(tenant: &Tenant, id: QueueId, queue: &Queue, automatic: Automatic, shared: &Shared) -> Given {
    let mut ahead = Ahead::new();
    let mut order: Vec<AgentId> = Vec::new();
    let mut plan = Plan::new(After::Again);
    let (mut untold, mut look_again) = (None, None);
    let sticky = tenant.config.sticky(id);
    let mut left = queue.batch();
    for waiting in queue.waiting.iter().take(LOOKED_AT_MAX) {
        if left == 0 || queue.is_behind(waiting) {
            break;
        }
        let key = waiting.conversation;
        let Some(conversation) = tenant.conversations.get(&key).filter(|c| c.lock.is_free()) else { break };
        let Some(life) = conversation.life() else { break };
        let desk = conversation.desk();
        let fits = |agent: AgentId| decide::unfit(tenant, desk, agent, shared.now).is_none();
        let had = sticky.and_then(|within| conversation.had(within, shared.now));
        let had = had.filter(|agent| fits(*agent) && may_serve(tenant, id, &ahead, *agent));
        let Some(best) = had.or_else(|| best(tenant, (id, queue), &ahead, automatic, fits)) else {
            let wishes = desk.is_some_and(|desk| !desk.avoid.is_empty() || !desk.skills.is_empty());
            if !wishes || decide::nobody_has_room(tenant, (id, queue), &ahead) {
                break;
            }
            if queue.unannounced.contains(waiting) {
                untold = untold.or(Some(key));
            }
            let ends = desk.into_iter().flat_map(|desk| &desk.avoid).map(|avoid| avoid.until);
            look_again = ends.filter(|until| *until > shared.now).chain(look_again).min();
            continue;
        };
        if tenant.is_locked(Key::Agent(best)) {
            break;
        }
        let why = Why {
            strategy: tenant.config.strategy(id),
            rule: match automatic {
                _ if had.is_some() => DecisionRule::Sticky,
                Automatic::LeastLoaded => DecisionRule::LeastLoaded,
                Automatic::RoundRobin => DecisionRule::RoundRobin,
            },
            candidates: decide::candidates(tenant, id, desk, &ahead, shared.now),
            author: Author::SYSTEM,
            cause: None,
        };
        let state = match ahead.entry(best) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let slot = tenant.agents.get(&best);
                let record = tenant.config.agent(best);
                let next = slot.and_then(|slot| slot.next(record, &shared.leases, shared.now));
                let Some(state) = next else { break };
                order.push(best);
                entry.insert(Box::new(state))
            }
        };
        decide::hold(state, key, life, shared.now);
        decide::assign(tenant, &mut plan, (key, conversation), life, best, why, shared.now);
        left -= 1;
    }
    let mut whole = Plan::new(After::Again);
    if !plan.changes.is_empty() {
        whole.serves = Some(id);
        for state in order.iter().filter_map(|agent| ahead.remove(agent)) {
            whole.agent(None, Body::AgentLoad(AgentLoad { state: *state }));
        }
        whole.changes.append(&mut plan.changes);
    }
    Given { plan: whole, untold, look_again }
}

/// The agent is one of those who may take the next, also after the decisions of this batch.
fn may_serve(tenant: &Tenant, id: QueueId, ahead: &Ahead, agent: AgentId) -> bool {
    tenant.agents.get(&agent).is_some_and(|agent| agent.serves(id))
        && ahead.get(&agent).is_none_or(|state| tenant.config.has_room(id, state))
}

/// Whose turn it is, seen with the decisions of this batch.
fn best(
    tenant: &Tenant,
    (id, queue): (QueueId, &Queue),
    ahead: &Ahead,
    automatic: Automatic,
    fits: impl Fn(AgentId) -> bool,
) -> Option<AgentId> {
    let untouched =
        queue.eligible.iter().find(|key| !ahead.contains_key(&key.agent) && fits(key.agent)).copied();
    let place = |agent: AgentId| {
        let mut keys = tenant.agents.get(&agent)?.keys.iter();
        keys.find(|(queue, _)| *queue == id).map(|(_, key)| key.priority)
    };
    let touched = ahead.values().filter(|state| tenant.config.has_room(id, state) && fits(state.agent_id));
    let touched =
        touched.filter_map(|state| Some(AgentKey::new(automatic, place(state.agent_id)?, state))).min();
    untouched.into_iter().chain(touched).min().map(|key| key.agent)
}
