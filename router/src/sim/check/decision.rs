//! What a router decides, held at that moment to what it had read of the log.
//!
//! Only what it knew, and was free to use, counts: threads and agents whose last state it had read, and which no write
//! of its own was under way for.

use std::{cmp::Reverse, time::Duration};

use bus_schema::{
    AgentId, AuthorType, Body, ConversationId, Lane, Timestamp,
    config::MemberPriority,
    event::Decided,
    state::{AgentState, AgentStatus, CloseReason, DecisionRule, LifeState, Priority, ThreadStatus},
};

use super::Found;
use crate::{
    routing::{Message, Write},
    sim::world::{World, key},
};

/// What the clocks of two that tell time may differ by, as routing has it.
const DIFFER: Duration = Duration::from_millis(2_000);

impl World {
    pub fn check_decision(&self, n: usize, write: &Write) -> Result<(), Found> {
        let mut first = true;
        for message in &write.messages {
            self.check_admission(n, write, message)?;
            match &message.event.body {
                Body::Decided(decided) => {
                    self.check_choice(n, write, message, decided, std::mem::take(&mut first))?;
                }
                Body::Unanswered(_) | Body::Idle(_) => self.check_silence(n, message)?,
                Body::Closed(closed) => match closed.reason {
                    CloseReason::Idle => self.check_silence(n, message)?,
                    CloseReason::VisitorGone => self.check_gone(n, write, message)?,
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn check_choice(
        &self,
        n: usize,
        write: &Write,
        message: &Message,
        decided: &Decided,
        first: bool,
    ) -> Result<(), Found> {
        let rule = decided.decision.rule;
        let by_rule =
            matches!(rule, DecisionRule::LeastLoaded | DecisionRule::RoundRobin | DecisionRule::Sticky);
        let (Some(chosen), Some(id)) =
            (decided.decision.chosen.filter(|_| by_rule), message.event.conversation_id)
        else {
            return Ok(());
        };
        let Some(kept) = self.ledger().lives.get(&id) else { return Ok(()) };
        // What is decided on an old state the log refuses.
        let desk = self.ledger().desks.get(&id).map_or(0, |kept| kept.seq);
        let of = |lane, seq| {
            let message =
                write.messages.iter().find(|message| message.subject.conversation() == Some((id, lane)));
            message.is_some_and(|message| message.expected == Some(seq))
        };
        if !of(Lane::Life, kept.seq) || !of(Lane::Desk, desk) {
            return Ok(());
        }
        self.is_there(n, chosen)?;
        self.is_open(n, id, &kept.state)?;
        self.nobody_waits_longer(n, write, id, &kept.state)?;
        if first && rule != DecisionRule::Sticky && self.router(n).told == self.records().len() {
            self.nobody_is_nearer(n, id, &kept.state, chosen, rule)?;
        }
        Ok(())
    }

    /// Nobody is given a thread by a rule who is away, or does not want any.
    fn is_there(&self, n: usize, chosen: AgentId) -> Result<(), Found> {
        let Some(kept) = self.ledger().agents.get(&chosen).filter(|kept| self.knows(n, kept.seq)) else {
            return Ok(());
        };
        if self.router(n).minds(key::Key::Agent(chosen)) {
            return Ok(());
        }
        match kept.state.seen_status() {
            AgentStatus::Accepting => Ok(()),
            status => Err(("nothing-for-who-is-away", format!("{chosen} is {status:?} and was chosen"))),
        }
    }

    /// Nothing is given to anybody by a rule outside the hours of its group.
    fn is_open(&self, n: usize, id: ConversationId, life: &LifeState) -> Result<(), Found> {
        let group = life.group_id.and_then(|group| self.group(group));
        let hours = group.and_then(|group| group.routing.hours.as_ref());
        let now = self.router(n).core.now();
        match hours.is_none_or(|hours| hours.is_open(now)) {
            true => Ok(()),
            false => Err(("hours-are-kept", format!("router {n} gives {id} to somebody at {now:?}"))),
        }
    }

    fn nobody_waits_longer(
        &self,
        n: usize,
        write: &Write,
        id: ConversationId,
        life: &LifeState,
    ) -> Result<(), Found> {
        let chosen = self.rank(id, life);
        for (other, kept) in &self.ledger().lives {
            let waits = kept.state.status == ThreadStatus::Queued && kept.state.group_id == life.group_id;
            let together = waits && self.tenant(*other) == self.tenant(id);
            if !together
                || *other == id
                || !self.knows(n, kept.seq)
                || self.rank(*other, &kept.state) > chosen
            {
                continue;
            }
            let Some(desk) = self.ledger().desk(*other).filter(|desk| self.knows(n, desk.seq)) else {
                continue;
            };
            let choosy = !desk.state.avoid.is_empty() || !desk.state.skills.is_empty();
            let served = write.messages.iter().any(|message| message.event.conversation_id == Some(*other));
            if desk.state.queue.is_some() && !choosy && !served {
                return Err(("fifo", format!("router {n} serves {id} before {other}, which waits longer")));
            }
        }
        Ok(())
    }

    fn rank(&self, id: ConversationId, life: &LifeState) -> (Reverse<Priority>, Timestamp, u64) {
        let desk = self.ledger().desk(id).map(|kept| &kept.state);
        let priority = Reverse(desk.map_or_else(Priority::default, |desk| desk.priority));
        let entry = desk.and_then(|desk| desk.queue.as_ref());
        let start = (life.started_at, life.started_seq.unwrap_or(0));
        let (since, seq) = entry.map_or(start, |entry| (entry.since, entry.since_seq));
        (priority, since, seq)
    }

    /// The chosen one is the least loaded, or the longest without an assignment, of those who may be chosen.
    fn nobody_is_nearer(
        &self,
        n: usize,
        id: ConversationId,
        life: &LifeState,
        chosen: AgentId,
        rule: DecisionRule,
    ) -> Result<(), Found> {
        let Some(group) = life.group_id.and_then(|group| self.group(group)) else { return Ok(()) };
        if self
            .ledger()
            .desk(id)
            .is_some_and(|desk| !desk.state.skills.is_empty() || !desk.state.avoid.is_empty())
        {
            return Ok(());
        }
        let measure = |priority: MemberPriority, state: &AgentState| {
            let share = match rule {
                DecisionRule::LeastLoaded => {
                    (u64::from(state.load()) << 32) / u64::from(state.capacity.max(1))
                }
                _ => 0,
            };
            (priority, share, state.last_assigned_at)
        };
        let known = |agent: AgentId| {
            let kept = self.ledger().agents.get(&agent).filter(|kept| self.knows(n, kept.seq))?;
            let minded = self.router(n).minds(key::Key::Agent(agent));
            (!minded).then_some(&kept.state)
        };
        let place = |agent: AgentId| {
            group.members.iter().find(|member| member.agent_id == agent).map(|member| member.priority)
        };
        let (Some(theirs), Some(at)) = (known(chosen), place(chosen)) else { return Ok(()) };
        for member in &group.members {
            let Some(state) = known(member.agent_id).filter(|_| member.agent_id != chosen) else { continue };
            let max = group.routing.agent_max.filter(|max| *max > 0);
            let room = state.has_room() && max.is_none_or(|max| state.held_in(group.group_id) < max);
            let there = state.seen_status() == AgentStatus::Accepting && !state.deleted;
            let record = self.agent(member.agent_id);
            // What the configuration asks of an agent comes first.
            let settled = record.is_some_and(|record| !record.deleted && record.capacity == state.capacity);
            if room && there && settled && measure(member.priority, state) < measure(at, theirs) {
                let what = format!("router {n} gives {id} to {chosen} and not to {}", member.agent_id);
                return Err(("fair", what));
            }
        }
        Ok(())
    }

    /// What a timer does for want of a word is not done if the word was there when the log was asked.
    fn check_silence(&self, n: usize, message: &Message) -> Result<(), Found> {
        let Some(id) = message.event.conversation_id else { return Ok(()) };
        let Some(life) = self.ledger().open(id) else { return Ok(()) };
        let (Some(desk), Some(group)) = (self.ledger().desk(id), self.rules_of(life)) else { return Ok(()) };
        let Some(assigned) = desk.state.last_assigned_at else { return Ok(()) };
        let known = self.ledger().lives.get(&id).is_some_and(|kept| self.knows(n, kept.seq));
        if !known || !self.knows(n, desk.seq) || self.clocks_are_wild() {
            return Ok(());
        }
        let Some(looked) = self.router(n).looked.get(&id).copied() else {
            return Err(("timers-ask-first", format!("router {n} did not ask what was said in {id}")));
        };
        let started = life.started_seq.unwrap_or(0);
        let (mut last, mut waits) = (assigned, Some(assigned));
        for said in
            self.messages_after(self.subject(id, Lane::Msg), started).take_while(|said| said.seq <= looked)
        {
            last = last.max(said.at);
            match said.payload.event.author.kind {
                AuthorType::Agent if said.at.plus(DIFFER) >= assigned => waits = None,
                AuthorType::Visitor => waits = waits.or(Some(said.at)),
                _ => {}
            }
        }
        let now = self.clock(n).plus(DIFFER);
        let early = match &message.event.body {
            Body::Unanswered(_) => {
                group.answer_within.is_none_or(|within| waits.is_none_or(|since| now < since.plus(within)))
            }
            Body::Idle(_) => group.idle_after.is_none_or(|after| now < last.plus(after)),
            _ => desk.state.idle_since.is_none_or(|since| last > since.plus(DIFFER)),
        };
        if early {
            let what = format!("{} of {id}, where the last word is of {last:?}", message.event.body.name());
            return Err(("timers-fire-when-due", what));
        }
        Ok(())
    }

    /// Nobody is taken for gone whom any edge that was asked could see.
    fn check_gone(&self, n: usize, write: &Write, message: &Message) -> Result<(), Found> {
        let Some(id) = message.event.conversation_id else { return Ok(()) };
        let free = !self.router(n).minds(key::Key::Conversation(id)) && self.hears_at_once(n);
        if self.is_fresh(write) && free && self.is_surely_there(id) {
            return Err((
                "visitors-who-are-there-stay",
                format!("router {n} ends {id}, whose visitor is there"),
            ));
        }
        Ok(())
    }
}
