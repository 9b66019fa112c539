//! Writes under way: what they touch is locked until their result is known.
//!
//! A state changes when its message is known to be stored, by its acknowledgement or by the log, whichever comes
//! first; until then decisions see it as it will be, and leave it alone.

use super::{
    conversation::Pending,
    effect::{Effect, Write},
    input::{Stored, WriteFailure, WriteId},
    plan::{After, Job, Plan},
    rules::with_seq,
    settings::{
        DOUBTS_PER_COMMAND_MAX, PAUSE, PAUSE_DOUBLINGS_MAX, REFUSALS_KEEPING_PLACE, STALE_MISMATCHES_MAX,
    },
    shared::{Flight, Shared},
    slot::{Key, Lock, QueueId, State, Target},
    tenant::Tenant,
};
use bus_schema::{Body, ConversationId, ErrorCode, Timestamp};

impl Tenant {
    /// Sends a plan out and locks what it touches.
    pub fn begin(&mut self, mut plan: Plan, job: Option<Job>, shared: &mut Shared) {
        let id = WriteId(shared.next_write);
        shared.next_write += 1;
        shared.counters.writes += 1;
        let targets: Vec<Target> = plan.changes.iter().map(|change| change.target).collect();
        let mut messages = Vec::with_capacity(targets.len());
        for (at, change) in std::mem::take(&mut plan.changes).into_iter().enumerate() {
            let expected = match change.target {
                Target::Agent(id) => {
                    let agent = self.agents.entry(id).or_default();
                    agent.pending = change.agent_state().map(Box::new);
                    agent.seq
                }
                Target::Life(id) => {
                    let conversation = self.conversations.of(id);
                    let pending = conversation.pending.get_or_insert_with(empty);
                    pending.life = change.life_state();
                    pending.cause = change.cause;
                    pending.begins = matches!(change.body, Body::Reopened(_));
                    conversation.life_seq
                }
                Target::Desk(id) => {
                    let conversation = self.conversations.of(id);
                    conversation.pending.get_or_insert_with(empty).desk = change.desk_state();
                    conversation.desk_seq
                }
            };
            let after = targets[..at].iter().filter(|target| **target == change.target).count();
            messages.push(change.message(&shared.settings, self.id, id, expected, after));
        }
        for key in keys(&targets) {
            self.lock(key, |lock| {
                lock.state = State::Writing(id);
                lock.moved = false;
            });
            self.index(key, shared);
        }
        let Plan { after, serves, .. } = plan;
        shared.flights.insert(id, Flight { tenant: self.id, targets, job, after, serves });
        shared.effects.push_back(Effect::Write(Write { id, tenant: self.id, messages }));
    }

    pub fn written(&mut self, flight: Flight, seqs: &[u64], shared: &mut Shared) {
        let mut life_seq = 0;
        for (at, (target, seq)) in flight.targets.iter().zip(seqs).enumerate() {
            // Of several on one subject the last is the state.
            if flight.targets[at + 1..].contains(target) {
                continue;
            }
            let before = self.before(*target);
            match *target {
                Target::Agent(id) => self.agents.entry(id).or_default().wrote(*seq),
                Target::Life(id) => {
                    self.conversations.of(id).wrote_life(*seq);
                    life_seq = *seq;
                }
                Target::Desk(id) => self.conversations.of(id).wrote_desk(*seq),
            }
            self.changed(*target, before, shared.now, shared.active);
        }
        for key in keys(&flight.targets) {
            self.drop_pending(key, |lock| *lock = Lock::default());
            self.opened(key, shared);
        }
        self.size_batches(flight.serves, true);
        match (flight.job, flight.after) {
            (Some(job), After::Reply(outcome)) => shared.reply(job.token, with_seq(outcome, life_seq)),
            (Some(job), After::Again) => self.commands.push_front(job),
            (None, _) => {}
        }
    }

    pub fn write_failed(&mut self, mut flight: Flight, why: WriteFailure, shared: &mut Shared) {
        flight.targets.sort_unstable();
        flight.targets.dedup();
        let keys = keys(&flight.targets);
        for key in &keys {
            self.drop_pending(*key, |_| {});
            // Edges are asked anew: their answer was of before, and what they said meanwhile may be lost.
            if let Key::Conversation(id) = key {
                self.conversations.of(*id).sight.outdate();
            }
        }
        self.size_batches(flight.serves, false);
        match why {
            WriteFailure::Mismatch => {
                shared.counters.mismatches += 1;
                self.read_all_again(&flight.targets, &keys, shared);
                if let Some(job) = flight.job {
                    self.decide_again(job, &keys, ErrorCode::Unavailable, shared);
                }
            }
            // Whatever is decided next expects the same sequences, so the two cannot both be stored. Whoever asked for
            // it too often is not told that it failed: a repeat finds out.
            WriteFailure::InDoubt => {
                shared.counters.doubts += 1;
                self.read_all_again(&flight.targets, &keys, shared);
                // A subject that did not move is what a doubt expects, and no stale mismatch.
                for key in &keys {
                    self.lock(*key, |lock| lock.moved = true);
                }
                if let Some(mut job) = flight.job {
                    job.doubts += 1;
                    match job.doubts < DOUBTS_PER_COMMAND_MAX {
                        true => self.decide_again(job, &keys, ErrorCode::Timeout, shared),
                        false => shared.refuse(job.token, ErrorCode::Timeout.into()),
                    }
                }
            }
            WriteFailure::Refused => {
                shared.counters.refusals += 1;
                for key in keys {
                    self.pause(key, shared);
                }
                if let Some(job) = flight.job {
                    shared.refuse(job.token, ErrorCode::Unavailable.into());
                }
            }
        }
    }

    /// What became of an earlier write of this command shows in what is read again first.
    fn decide_again(&mut self, job: Job, keys: &[Key], or: ErrorCode, shared: &mut Shared) {
        match keys.first() {
            Some(key) if shared.active => self.waiters.entry(*key).or_default().push_front(job),
            _ => shared.refuse(job.token, or.into()),
        }
    }

    /// Has the last messages of all that a write touches read from the leader; it stays locked until they are.
    fn read_all_again(&mut self, targets: &[Target], keys: &[Key], shared: &mut Shared) {
        for key in keys {
            let reads = targets.iter().filter(|target| target.key() == *key).count();
            self.lock(*key, |lock| lock.state = State::Reading(reads as u8));
            self.index(*key, shared);
        }
        shared.reading += targets.len();
        let subject = |target: &Target| target.subject(shared.settings.shard, self.id);
        let reads = targets.iter().map(|target| Effect::Refresh { subject: subject(target) });
        shared.effects.extend(reads);
    }

    /// The next batch of a queue is smaller while others are faster.
    fn size_batches(&mut self, queue: Option<QueueId>, stored: bool) {
        let Some(id) = queue else { return };
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.failures = if stored { 0 } else { queue.failures.saturating_add(1) };
    }

    /// Has the closed thread's last state read again for a command; everything else waits for it.
    pub fn recall(&mut self, id: ConversationId, job: Job, shared: &mut Shared) {
        let key = Key::Conversation(id);
        self.lock(key, |lock| lock.state = State::Recalling);
        self.waiters.entry(key).or_default().push_back(job);
        shared.reading += 1;
        let subject = Target::Life(id).subject(shared.settings.shard, self.id);
        shared.effects.push_back(Effect::Refresh { subject });
    }

    fn recalled(&mut self, id: ConversationId, last: Option<Stored>, shared: &mut Shared) {
        if let Some(stored) = &last {
            self.read(Target::Life(id), stored.clone(), shared);
        }
        let key = Key::Conversation(id);
        self.lock(key, |lock| lock.state = State::Free);
        self.conversations.of(id).recalled(last.as_ref());
        self.opened(key, shared);
    }

    /// Has what is known of one side of an assignment read again, as it was at this sequence or later.
    pub fn read_again(&mut self, target: Target, up_to: u64, shared: &mut Shared) {
        self.lock(target.key(), |lock| lock.state = State::Checking(up_to));
        self.index(target.key(), shared);
        shared.reading += 1;
        let subject = target.subject(shared.settings.shard, self.id);
        shared.effects.push_back(Effect::Refresh { subject });
    }

    fn checked(&mut self, target: Target, last: Option<Stored>, up_to: u64, shared: &mut Shared) {
        if let Some(stored) = last {
            self.read(target, stored, shared);
        }
        match target {
            Target::Agent(id) => self.agents.entry(id).or_default().as_of = up_to,
            Target::Life(id) | Target::Desk(id) => self.conversations.of(id).as_of = up_to,
        }
        self.lock(target.key(), |lock| lock.state = State::Free);
        self.opened(target.key(), shared);
    }

    /// The leader's last message of a subject whose write had met a mismatch, or that was asked for.
    pub fn refreshed(&mut self, target: Target, last: Option<Stored>, shared: &mut Shared) {
        match (target, self.lock_of(target.key()).state) {
            (Target::Life(id), State::Recalling) => return self.recalled(id, last, shared),
            (_, State::Checking(up_to)) => return self.checked(target, last, up_to, shared),
            _ => {}
        }
        if let Some(stored) = last {
            self.read(target, stored, shared);
        }
        let mut done = false;
        self.lock(target.key(), |lock| {
            if let State::Reading(left) = lock.state {
                lock.state = State::Reading(left.saturating_sub(1));
                done = left <= 1;
            }
        });
        if !done {
            return;
        }
        let mut stuck = false;
        self.lock(target.key(), |lock| {
            lock.stale = if lock.moved { 0 } else { lock.stale.saturating_add(1) };
            stuck = lock.stale >= STALE_MISMATCHES_MAX;
            if stuck {
                lock.stale = 0;
            }
            (lock.state, lock.moved) = (State::Free, false);
        });
        if stuck {
            self.pause(target.key(), shared);
        } else {
            self.opened(target.key(), shared);
        }
    }

    /// A message of the log: kept if it is newer than what is known.
    pub fn read(&mut self, target: Target, stored: Stored, shared: &mut Shared) {
        let event = stored.event.as_deref();
        let before = self.before(target);
        let newer = match target {
            Target::Agent(id) => {
                let agent = self.agents.entry(id).or_default();
                let newer = stored.seq > agent.seq;
                if newer {
                    agent.read(stored.seq, event);
                }
                newer
            }
            Target::Life(id) => {
                let conversation = self.conversations.of(id);
                let newer = conversation.is_news(stored.seq);
                if newer {
                    conversation.read_life(stored.seq, stored.at, event);
                }
                newer
            }
            Target::Desk(id) => {
                let conversation = self.conversations.of(id);
                let newer = stored.seq > conversation.desk_seq;
                if newer {
                    conversation.read_desk(stored.seq, event);
                }
                newer
            }
        };
        if !newer {
            return;
        }
        if event.is_none() {
            shared.counters.unreadable += 1;
        }
        self.changed(target, before, stored.at, shared.active);
        self.lock(target.key(), |lock| lock.moved = true);
        self.index(target.key(), shared);
        if let Target::Agent(agent) = target {
            self.chores.add(super::chores::Chore::Care(agent));
        }
    }

    /// Opens what was paused long enough.
    pub fn unpause(&mut self, shared: &mut Shared) {
        while let Some((until, key)) = self.paused.first().copied().filter(|(until, _)| *until <= shared.now)
        {
            self.paused.remove(&(until, key));
            self.lock(key, |lock| lock.state = State::Free);
            self.opened(key, shared);
        }
    }

    pub fn lock_of(&self, key: Key) -> Lock {
        match key {
            Key::Agent(id) => self.agents.get(&id).map(|agent| agent.lock),
            Key::Conversation(id) => self.conversations.get(&id).map(|conversation| conversation.lock),
        }
        .unwrap_or_default()
    }

    fn pause(&mut self, key: Key, shared: &mut Shared) {
        let mut pause = PAUSE;
        self.lock(key, |lock| {
            lock.state = State::Paused;
            lock.refusals = lock.refusals.saturating_add(1);
            // Whoever was to serve it is back before it is, and serves the next.
            if lock.is_set_aside() && matches!(key, Key::Conversation(_)) {
                let doublings = (lock.refusals - REFUSALS_KEEPING_PLACE).min(PAUSE_DOUBLINGS_MAX);
                pause = PAUSE * (1 << doublings);
            }
        });
        let until: Timestamp = shared.now.plus(pause);
        self.paused.insert((until, key));
        self.index(key, shared);
    }

    fn lock(&mut self, key: Key, change: impl FnOnce(&mut Lock)) {
        match key {
            Key::Agent(id) => change(&mut self.agents.entry(id).or_default().lock),
            Key::Conversation(id) => change(&mut self.conversations.of(id).lock),
        }
    }

    fn index(&mut self, key: Key, shared: &mut Shared) {
        match key {
            Key::Agent(id) => self.index_agent(id, shared),
            Key::Conversation(id) => self.index_conversation(id),
        }
    }

    fn drop_pending(&mut self, key: Key, change: impl FnOnce(&mut Lock)) {
        match key {
            Key::Agent(id) => {
                let agent = self.agents.entry(id).or_default();
                agent.pending = None;
                change(&mut agent.lock);
            }
            Key::Conversation(id) => {
                let conversation = self.conversations.of(id);
                conversation.pending = None;
                change(&mut conversation.lock);
            }
        }
    }
}

fn empty() -> Box<Pending> {
    Box::new(Pending { life: None, desk: None, cause: None, begins: false })
}

fn keys(targets: &[Target]) -> Vec<Key> {
    let mut keys: Vec<Key> = targets.iter().map(|target| target.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
