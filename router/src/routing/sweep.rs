//! The sweep: looks for what the invariants forbid, and has it put right if the next sweep finds it again.
//!
//! States of one batch are read one after the other, so what looks wrong once may be half of a change.

use std::collections::BTreeSet;

use bus_schema::Timestamp;

use super::{
    chores::Chore,
    rules::{
        mend::{is_orphan, is_strange},
        standing, unfit,
    },
    settings::LOOKED_AT_MAX,
    shared::Shared,
    slot::Key,
    tenant::Tenant,
};

pub fn sweep(tenant: &mut Tenant, shared: &mut Shared) {
    let found = look(tenant, shared.now);
    for chore in found.intersection(&tenant.suspects).copied().collect::<Vec<_>>() {
        shared.counters.mended += 1;
        tenant.chores.add(chore);
    }
    tenant.suspects = found;
}

fn look(tenant: &Tenant, now: Timestamp) -> BTreeSet<Chore> {
    let mut found = BTreeSet::new();
    for key in tenant.open.values().flatten() {
        let conversation = tenant.conversations.get(&key.conversation);
        if conversation.is_some_and(|conversation| is_orphan(tenant, key.conversation, conversation)) {
            found.insert(Chore::Requeue(key.conversation));
        }
    }
    for (id, agent) in &tenant.agents {
        let held = agent.stored().filter(|_| agent.lock.is_free()).map(|state| &state.conversations);
        if held.into_iter().flatten().any(|held| is_strange(tenant, *id, held)) {
            found.insert(Chore::Shed(*id));
        }
    }
    for (id, queue) in &tenant.queues {
        if !tenant.config.is_open(*id, now) {
            continue;
        }
        // The first for whom somebody is free who is right.
        let pairs = queue.waiting.iter().take(LOOKED_AT_MAX).filter_map(|head| {
            let desk = tenant.conversations.get(&head.conversation)?.desk();
            if desk.is_some_and(|desk| standing(tenant, *id, desk, now).is_some()) {
                return None;
            }
            let mut fit = queue.eligible.iter().filter(|best| unfit(tenant, desk, best.agent, now).is_none());
            Some((head, fit.next()?))
        });
        let Some((head, best)) = pairs.take(1).next() else { continue };
        let busy = queue.is_behind(head)
            || tenant.is_locked(Key::Conversation(head.conversation))
            || tenant.is_locked(Key::Agent(best.agent))
            || tenant.chores.contains(Chore::Drain(*id));
        if !busy {
            found.insert(Chore::Drain(*id));
        }
    }
    found
}
