//! Offers: a thread that waits is offered to several, and the first who takes it has it.
//!
//! It stays in its queue meanwhile, so an offer that comes to nothing loses it nothing.

use bus_schema::{
    AgentId, Author, Body, Timestamp,
    event::Offered,
    state::{DeskState, Offer},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        queue::Queue,
        settings::LOOKED_AT_MAX,
        shared::Shared,
        slot::QueueId,
        tenant::Tenant,
    },
    announce::announce,
    decide,
};

/// The next offer that is to be made, and when the next of those that stand ends.
pub fn offer(tenant: &Tenant, id: QueueId, queue: &Queue, shared: &Shared) -> (Step, Option<Timestamp>) {
    if let Some(untold) = queue.unannounced.first() {
        return (announce(tenant, id, untold.conversation, shared.now), None);
    }
    let rules = tenant.config.rules(id);
    let mut again: Option<Timestamp> = None;
    for waiting in queue.waiting.iter().take(LOOKED_AT_MAX) {
        let key = waiting.conversation;
        let conversation = tenant.conversations.get(&key).filter(|c| c.lock.is_free());
        // Nobody is offered before one that a write under way may leave where it is.
        let Some(conversation) = conversation.filter(|_| !queue.is_behind(waiting)) else { break };
        let Some(desk) = conversation.desk() else { continue };
        if let Some(ends) = standing(tenant, id, desk, shared.now) {
            again = again.into_iter().chain([ends]).min();
            continue;
        }
        let fits = |agent: &AgentId| decide::unfit(tenant, Some(desk), *agent, shared.now).is_none();
        let asked = |agent: &AgentId| desk.offers.iter().any(|offer| offer.agent_id == *agent);
        let all = || queue.eligible.iter().map(|key| key.agent).filter(fits);
        // Those who let it pass are asked again when nobody else is left.
        let mut agents: Vec<AgentId> = all().filter(|agent| !asked(agent)).take(rules.offer_to).collect();
        if agents.is_empty() {
            agents.extend(all().take(rules.offer_to));
        }
        if agents.is_empty() {
            let ends = desk.avoid.iter().map(|avoid| avoid.until).filter(|until| *until > shared.now);
            again = again.into_iter().chain(ends).min();
            continue;
        }
        let expires_at = shared.now.plus(rules.offer_for);
        let mut state = desk.clone();
        state.offers = agents.iter().map(|agent| Offer { agent_id: *agent, expires_at }).collect();
        let mut plan = Plan::new(After::Again);
        let offered = Offered { agent_ids: agents, expires_at, state };
        plan.desk(key, Author::SYSTEM, None, Body::Offered(offered));
        return (Step::Write(plan), again);
    }
    (Step::Nothing, again)
}

/// Until when somebody may still accept who can.
pub fn standing(tenant: &Tenant, queue: QueueId, desk: &DeskState, now: Timestamp) -> Option<Timestamp> {
    let can = |agent: AgentId| tenant.agents.get(&agent).is_some_and(|agent| agent.serves(queue));
    let stand = desk.offers.iter().filter(|offer| offer.expires_at > now && can(offer.agent_id));
    stand.map(|offer| offer.expires_at).max()
}
