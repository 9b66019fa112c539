//! Who answers which conversation: a deterministic state machine, `handle(input, now)` → effects.
//!
//! It knows the states that the log's last messages carry, decides, and asks for its decisions to be written with the
//! sequences it expects; what a write touches is locked until its result is known, everything else goes on. Nothing
//! here has a clock, randomness or IO, so the same inputs give the same effects. Safety never rests on being alone:
//! every write is refused by the bus if anybody else was faster.

mod agent;
mod chores;
mod config;
mod conversation;
mod conversations;
mod effect;
mod flight;
mod input;
pub mod invariants;
mod lease;
mod pace;
mod plan;
mod queue;
mod roster;
mod rules;
mod settings;
mod shared;
mod sight;
mod slot;
mod stats;
mod sweep;
mod telling;
mod tenant;
mod timers;
mod torn;
mod unknown;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, Subject, TenantId, Timestamp,
    command::{Command, CommandRequest, Outcome},
    config::RecordId,
};

pub use effect::{Effect, Message, Told, Write};
pub use input::{Heard, Input, Stored, Token, WriteFailure, WriteId};
pub use settings::Settings;
pub use shared::Counters;
pub use stats::Stats;
pub use timers::Said;

use chores::Chore;
use conversation::Conversation;
use plan::{After, Job, Step};
use settings::{COMMANDS_PER_TENANT_MAX, PAUSED_AFTER, STEPS_PER_CALL};
use shared::Shared;
use slot::{Key, Target};
use telling::Telling;
use tenant::Tenant;

/// Something that a command depends on, and where it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    Record(RecordId),
    /// The subject's last message.
    State(Subject),
}

/// The core of one shard's router.
#[derive(Debug)]
pub struct Routing {
    shared: Shared,
    tenants: BTreeMap<TenantId, Tenant>,
    /// Tenants with work, in the order of their turns.
    line: VecDeque<TenantId>,
    next_sweep: Timestamp,
}

impl Routing {
    pub fn new(settings: Settings) -> Self {
        Self {
            shared: Shared::new(settings),
            tenants: BTreeMap::new(),
            line: VecDeque::new(),
            next_sweep: Timestamp::default(),
        }
    }

    /// Takes one input. `now` never goes back: an earlier one counts as the latest.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        let before = self.shared.now;
        self.shared.now = before.max(now);
        if self.shared.now.since(before) >= PAUSED_AFTER {
            self.shared.leases.begin_anew(self.shared.now);
        }
        match input {
            Input::Log(stored) => {
                self.shared.now = self.shared.now.max(stored.at);
                if let Some(target) = Target::of(stored.subject) {
                    self.with(stored.subject.tenant(), |tenant, shared| tenant.read(target, stored, shared));
                }
            }
            Input::Config(record) => {
                self.with(record.tenant_id(), |tenant, shared| tenant.configure(record, shared));
            }
            Input::Activate => self.activate(),
            Input::StandBy => self.stand_by(),
            Input::Command { token, tenant, request } => self.command(token, tenant, request),
            Input::Written { id, seqs } => {
                if let Some(flight) = self.shared.flights.remove(&id) {
                    self.with(flight.tenant, |tenant, shared| tenant.written(flight, &seqs, shared));
                }
            }
            Input::WriteFailed { id, why } => {
                if let Some(flight) = self.shared.flights.remove(&id) {
                    self.with(flight.tenant, |tenant, shared| tenant.write_failed(flight, why, shared));
                }
            }
            Input::Refreshed { subject, last } => {
                if let Some(target) = Target::of(subject) {
                    self.shared.reading = self.shared.reading.saturating_sub(1);
                    self.with(subject.tenant(), |tenant, shared| tenant.refreshed(target, last, shared));
                }
            }
            Input::Looked { tenant, conversation, thread, said, up_to, more } => {
                self.shared.reading = self.shared.reading.saturating_sub(1);
                self.with(tenant, |tenant, _| tenant.looked(conversation, thread, &said, up_to, more));
            }
            Input::EdgesSaid { tenant, asked, heard } => {
                self.with(tenant, |tenant, shared| tenant.edges_said(&asked, heard.as_ref(), shared));
            }
            Input::Visitor { tenant, conversation, came } => {
                if let Some(tenant) = self.tenants.get_mut(&tenant) {
                    tenant.visitor_moved(conversation, came, self.shared.now);
                }
            }
            Input::Lease { incarnation, alive } => {
                self.shared.leases.set(incarnation, alive, self.shared.now);
            }
            Input::BusDown => self.shared.leases.bus_down(),
            Input::BusWorks => self.shared.leases.bus_works(self.shared.now),
            Input::Tick => self.tick(),
        }
        self.take_turns();
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.shared.effects.pop_front()
    }

    /// When to call [`Routing::handle`] with a tick at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.has_more() {
            return Some(self.shared.now);
        }
        let due = |tenant: &Tenant| {
            let agents = tenant.due.first().map(|(at, _)| *at);
            let paused = tenant.paused.first().map(|(at, _)| *at);
            let avoided = tenant.avoided.first().map(|(at, _)| *at);
            let timers = tenant.timers.first().map(|(at, _)| *at);
            agents.into_iter().chain(paused).chain(avoided).chain(timers).min()
        };
        self.tenants.values().filter_map(due).chain(self.shared.active.then_some(self.next_sweep)).min()
    }

    /// There is more to decide right now than one call does.
    pub fn has_more(&self) -> bool {
        self.shared.active && !self.line.is_empty() && self.shared.has_room()
    }

    /// What a command depends on and this core never saw. Whoever has it says so before the command: a group that was
    /// made, or a thread that was started a moment ago, is not "no such group" and not "no such conversation".
    pub fn unseen(&self, id: TenantId, command: &Command) -> Vec<Unseen> {
        let fresh = Tenant::new(id);
        let tenant = self.tenants.get(&id).unwrap_or(&fresh);
        let about = match command {
            Command::Explain { conversation_id } => Some((*conversation_id, None)),
            _ => command.thread(),
        };
        let life = about.filter(|(conversation, named)| {
            let known = tenant.conversations.get(conversation).filter(|known| known.life_seq > 0);
            let is =
                |known: &Conversation| known.life().map(|life| life.thread_id).or_else(|| known.closed());
            !known.is_some_and(|known| named.is_none_or(|named| is(known) == Some(named)))
        });
        let records = tenant.config.unseen(command).into_iter().map(Unseen::Record);
        let shard = self.shared.settings.shard;
        let life = life.map(|(conversation, _)| Unseen::State(Target::Life(conversation).subject(shard, id)));
        records.chain(life).collect()
    }

    /// Somebody has the conversation's thread.
    pub fn is_active(&self, tenant: TenantId, conversation: ConversationId) -> bool {
        let tenant = self.tenants.get(&tenant);
        let known = tenant.and_then(|tenant| tenant.conversations.get(&conversation));
        known.is_some_and(|known| known.assignee().is_some())
    }

    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    pub fn now(&self) -> Timestamp {
        self.shared.now
    }

    fn with(&mut self, id: TenantId, act: impl FnOnce(&mut Tenant, &mut Shared)) {
        let tenant = self.tenants.entry(id).or_insert_with(|| Tenant::new(id));
        act(tenant, &mut self.shared);
        tenant.tell_threads(&mut self.shared);
        if tenant.has_work() && !std::mem::replace(&mut tenant.in_line, true) {
            self.line.push_back(id);
        }
    }

    fn activate(&mut self) {
        self.shared.active = true;
        for tenant in self.tenants.values_mut() {
            tenant.tell_all();
        }
    }

    /// Commands that wait are answered, not kept: whoever is active now will be asked again. Of those whose write is
    /// under way only the ones stay that end with it.
    fn stand_by(&mut self) {
        self.shared.active = false;
        let unfinished =
            self.shared.flights.values_mut().filter(|flight| matches!(flight.after, After::Again));
        let unfinished: Vec<Job> = unfinished.filter_map(|flight| flight.job.take()).collect();
        for job in unfinished {
            self.shared.refuse(job.token, ErrorCode::Unavailable.into());
        }
        for tenant in self.tenants.values_mut() {
            let waiting = std::mem::take(&mut tenant.waiters).into_values().flatten();
            for job in waiting.chain(std::mem::take(&mut tenant.commands)) {
                self.shared.refuse(job.token, ErrorCode::Unavailable.into());
            }
            tenant.telling = Telling::default();
            tenant.forget_sights();
        }
    }

    fn command(&mut self, token: Token, tenant: TenantId, request: CommandRequest) {
        if !self.shared.active {
            return self.shared.refuse(token, ErrorCode::Unavailable.into());
        }
        let arrived = self.shared.now;
        self.with(tenant, |tenant, shared| {
            if let Some(outcome) = rules::answer(tenant, &request, shared) {
                return shared.reply(token, outcome);
            }
            if tenant.commands.len() + tenant.waiters.values().map(VecDeque::len).sum::<usize>()
                >= COMMANDS_PER_TENANT_MAX
            {
                return shared.refuse(token, ErrorCode::RateLimited.into());
            }
            tenant.commands.push_back(Job { token, request, arrived, doubts: 0 });
        });
    }

    fn tick(&mut self) {
        let now = self.shared.now;
        let dead = self.shared.leases.dead(now);
        let sweep = self.shared.active && now >= self.next_sweep;
        for id in self.tenants.keys().copied().collect::<Vec<_>>() {
            self.with(id, |tenant, shared| {
                tenant.unpause(shared);
                rules::due(tenant, &dead, shared);
                tenant.tell_rest(shared);
                if shared.active {
                    tenant.ask_edges(shared);
                }
                if sweep {
                    sweep::sweep(tenant, shared);
                }
            });
        }
        if sweep {
            self.next_sweep = now.plus(settings::SWEEP_EVERY);
            let named = |edge| self.tenants.values().any(|tenant| tenant.named.contains_key(&edge));
            self.shared.leases.forget_older(settings::LEASE_FORGOTTEN_AFTER, now, named);
        }
    }

    /// Tenants take turns of one step each, while there is room for writes.
    fn take_turns(&mut self) {
        if !self.shared.active {
            return;
        }
        for _ in 0..STEPS_PER_CALL {
            if !self.shared.has_room() {
                return;
            }
            let Some(id) = self.line.pop_front() else { return };
            let Some(tenant) = self.tenants.get_mut(&id) else { continue };
            tenant.in_line = false;
            tenant.turn(&mut self.shared);
            if tenant.has_work() {
                tenant.in_line = true;
                self.line.push_back(id);
            }
        }
    }
}

impl Tenant {
    /// One command or one chore.
    fn turn(&mut self, shared: &mut Shared) {
        self.chore_next = !self.chore_next;
        let chore = match self.chore_next || self.commands.is_empty() {
            true => self.chores.next(),
            false => None,
        };
        if let Some(chore) = chore {
            match rules::chore(self, chore, shared) {
                Step::Write(plan) => match torn::torn(self, &plan) {
                    Some((target, up_to)) => {
                        self.held_up.entry(target.key()).or_default().insert(chore);
                        self.read_again(target, up_to, shared);
                    }
                    None => {
                        self.begin(plan, None, shared);
                        self.chores.add(chore);
                    }
                },
                Step::Look(conversation) => self.look(conversation, shared),
                Step::AskEdges(conversation) => self.question(conversation),
                Step::Nothing | Step::Blocked(_) | Step::Reply(_) | Step::Recall(_) => {
                    if let Chore::Expire(conversation) = chore {
                        self.index_timer(conversation);
                    }
                }
            }
            return;
        }
        let Some(job) = self.commands.pop_front() else { return };
        match rules::command(self, &job, shared) {
            Step::Nothing | Step::Look(_) | Step::AskEdges(_) => {}
            Step::Blocked(key) => self.waiters.entry(key).or_default().push_back(job),
            Step::Write(plan) => match torn::torn(self, &plan) {
                Some((target, up_to)) => {
                    self.waiters.entry(target.key()).or_default().push_back(job);
                    self.read_again(target, up_to, shared);
                }
                None => self.begin(plan, Some(job), shared),
            },
            Step::Reply(outcome) => shared.reply(job.token, job.certain(outcome)),
            Step::Recall(conversation) => self.recall(conversation, job, shared),
        }
    }

    fn is_locked(&self, key: Key) -> bool {
        !self.lock_of(key).is_free()
    }
}

impl Shared {
    fn reply(&mut self, token: Token, outcome: Outcome) {
        self.counters.commands_refused += u64::from(matches!(outcome, Outcome::Rejected { .. }));
        self.effects.push_back(Effect::Reply { token, outcome });
    }

    fn refuse(&mut self, token: Token, error: ErrorBody) {
        self.reply(token, Outcome::from(error));
    }
}
