//! Work that the core gives itself: each at most once in line, first come first served.

use std::collections::{BTreeSet, VecDeque};

use bus_schema::{AgentId, ConversationId};

use super::slot::QueueId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chore {
    /// Give the longest waiting to who is free, tell others that they wait.
    Drain(QueueId),
    /// What the clock, configuration or a sweep asks of an agent.
    Care(AgentId),
    /// Do what is due for a thread.
    Expire(ConversationId),
    /// Put right a thread whose assignee does not hold it.
    Requeue(ConversationId),
    /// Put right an agent who holds what is not theirs.
    Shed(AgentId),
}

#[derive(Debug, Default)]
pub struct Chores {
    line: VecDeque<Chore>,
    present: BTreeSet<Chore>,
}

impl Chores {
    pub fn add(&mut self, chore: Chore) {
        if self.present.insert(chore) {
            self.line.push_back(chore);
        }
    }

    pub fn next(&mut self) -> Option<Chore> {
        let chore = self.line.pop_front()?;
        self.present.remove(&chore);
        Some(chore)
    }

    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub fn contains(&self, chore: Chore) -> bool {
        self.present.contains(&chore)
    }
}
