//! Who may wait: how many in one queue, and where nobody is there.
//!
//! Held to what the router had read: what it may have seen otherwise counts for it, whichever way it decided.

use bus_schema::{
    AgentId, Body, ConversationId, Timestamp,
    config::{GroupRecord, WhenOffline},
    state::{AgentState, CloseReason, DecisionRule, LifeState, ThreadStatus},
};

use super::Found;
use crate::{
    routing::{Message, Write},
    sim::world::{World, key},
};

impl World {
    /// A thread that is told for the first time that it waits, or that it may not.
    pub fn check_admission(&self, n: usize, write: &Write, message: &Message) -> Result<(), Found> {
        let of_group = |life: &LifeState| Some((message.event.conversation_id?, self.group(life.group_id?)?));
        match &message.event.body {
            Body::Queued(queued) if is_announced(write, message) => match of_group(&queued.state) {
                Some((id, group)) => self.check_kept(n, id, group),
                None => Ok(()),
            },
            Body::Closed(closed) => match (closed.reason, of_group(&closed.state)) {
                (CloseReason::QueueFull, Some((id, group))) => self.check_full(n, id, group),
                (CloseReason::GroupOffline, Some((id, group))) => self.check_offline(n, id, group),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_kept(&self, n: usize, id: ConversationId, group: &GroupRecord) -> Result<(), Found> {
        let surely = self.waiting(n, id, group, false);
        if let Some(max) = group.queue_max.filter(|max| surely >= *max as usize) {
            let what = format!("router {n} lets {id} wait behind {surely}, where {max} may");
            return Err(("queue-max-is-kept", what));
        }
        let nobody = !self.is_served(n, group) || !self.somebody(n, group, true);
        if group.when_offline == WhenOffline::Close && nobody {
            return Err(("offline-groups-keep-nobody", format!("router {n} lets {id} wait for nobody")));
        }
        Ok(())
    }

    fn check_full(&self, n: usize, id: ConversationId, group: &GroupRecord) -> Result<(), Found> {
        let perhaps = self.waiting(n, id, group, true);
        match group.queue_max.is_some_and(|max| perhaps >= max as usize) {
            true => Ok(()),
            false => {
                let what = format!("router {n} ends {id} for {perhaps} where {:?} may wait", group.queue_max);
                Err(("queue-max-is-kept", what))
            }
        }
    }

    fn check_offline(&self, n: usize, id: ConversationId, group: &GroupRecord) -> Result<(), Found> {
        let there = self.is_served(n, group) && self.somebody(n, group, false);
        match group.when_offline == WhenOffline::Close && !there {
            true => Ok(()),
            false => {
                Err(("offline-groups-keep-nobody", format!("router {n} ends {id}, whose group is there")))
            }
        }
    }

    fn is_served(&self, n: usize, group: &GroupRecord) -> bool {
        let now: Timestamp = self.router(n).core.now();
        group.routing.hours.as_ref().is_none_or(|hours| hours.is_open(now))
    }

    /// How many others wait there and were told so; `perhaps`: also those of whom the router may know something else.
    fn waiting(&self, n: usize, id: ConversationId, group: &GroupRecord, perhaps: bool) -> usize {
        let others = self.ledger().lives.iter().filter(|(other, _)| **other != id);
        let waits = others.filter(|(other, kept)| {
            let desk = self.ledger().desks.get(other);
            let known = self.knows(n, kept.seq) && desk.is_none_or(|desk| self.knows(n, desk.seq));
            if !known || self.router(n).minds(key::Key::Conversation(**other)) {
                return perhaps && self.tenant(**other) == group.tenant_id;
            }
            let told = self.ledger().desk(**other).is_some_and(|desk| desk.state.queue.is_some());
            let life = &kept.state;
            told && life.status == ThreadStatus::Queued && life.group_id == Some(group.group_id)
        });
        waits.count()
    }

    /// A member is connected; `perhaps`: or may be, for all that the router knows.
    fn somebody(&self, n: usize, group: &GroupRecord, perhaps: bool) -> bool {
        group.members.iter().any(|member| {
            let agent: AgentId = member.agent_id;
            let kept = self.ledger().agents.get(&agent);
            let known = kept.is_none_or(|kept| self.knows(n, kept.seq));
            match known && !self.router(n).minds(key::Key::Agent(agent)) {
                true => kept.map(|kept| &kept.state).is_some_and(AgentState::is_connected),
                false => perhaps,
            }
        })
    }
}

/// It was not waiting there before: nobody had it, and nobody passed it on.
fn is_announced(write: &Write, message: &Message) -> bool {
    let of = message.event.conversation_id;
    write.messages.iter().filter(|other| other.event.conversation_id == of).any(|other| {
        matches!(&other.event.body, Body::Decided(decided) if decided.decision.rule == DecisionRule::NobodyFree)
    })
}
