//! What is an agent's own, and what each of its connections follows: the sets, without the waiting.
//!
//! Invariant: a connection follows what is the agent's own and what it watches itself, except what the log refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bus_schema::{
    Audience, Author, ConversationId, command::View, state::AgentState, subject::ConversationSubjects,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    conn::Conn,
    hub::{self, Ended, Gate, Join, Sender, Then},
};

/// Conversations that one connection watches.
pub const WATCHED_MAX: usize = 50;

/// What an agent's task is asked.
#[derive(Debug)]
pub enum Ask {
    Attach(Attached),
    Detach {
        conn: u64,
    },
    /// Somebody said that the agent takes part in it.
    TakesPart {
        conversation: ConversationId,
    },
    /// Answered with whether the connection has room for one more.
    Watch {
        conn: u64,
        conversation: ConversationId,
        done: oneshot::Sender<bool>,
    },
    Unwatch {
        conn: u64,
        conversation: ConversationId,
    },
}

/// What is an agent's own on every connection.
#[derive(Debug, Default)]
pub struct Own {
    held: BTreeSet<ConversationId>,
    /// Of which it was heard that the agent takes part.
    pub takes_part: BTreeSet<ConversationId>,
    /// Turned away by the log, until something new is heard.
    pub refused: BTreeSet<ConversationId>,
    /// Ended for a connection, while what was heard says otherwise: one of both is old news.
    pub doubted: BTreeSet<ConversationId>,
}

impl Own {
    /// The agent's state is the newest word.
    pub fn hold(&mut self, state: &AgentState) {
        self.held = state.conversations.iter().map(|held| held.conversation_id).collect();
        self.refused.clear();
    }

    fn has(&self, conversation: ConversationId) -> bool {
        let heard = self.held.contains(&conversation) || self.takes_part.contains(&conversation);
        heard && !self.refused.contains(&conversation)
    }
}

/// One connection of the agent.
#[derive(Debug)]
pub struct Attached {
    pub conn: Arc<Conn>,
    pub sender: Sender,
    pub viewer: Author,
    pub ended: mpsc::Sender<Ended>,
    /// What it has joined at the hub, each with whether it watches it.
    pub follows: BTreeMap<ConversationId, Arc<AtomicBool>>,
    pub watched: BTreeSet<ConversationId>,
}

impl Attached {
    /// Says whether there is room.
    pub fn watch(&mut self, conversation: ConversationId) -> bool {
        if !self.watched.contains(&conversation) && self.watched.len() >= WATCHED_MAX {
            return false;
        }
        self.watched.insert(conversation);
        if let Some(watches) = self.follows.get(&conversation) {
            watches.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Says whether it goes on following.
    pub fn unwatch(&mut self, conversation: ConversationId) -> bool {
        self.watched.remove(&conversation);
        let follows = self.follows.get(&conversation);
        if let Some(watches) = follows {
            watches.store(false, Ordering::Relaxed);
        }
        follows.is_some()
    }

    /// What it follows no longer.
    pub fn gone(&mut self, own: &Own) -> Vec<ConversationId> {
        let watched = &self.watched;
        let stays = |id: &ConversationId| own.has(*id) || watched.contains(id);
        self.follows.extract_if(.., |id, _| !stays(id)).map(|(id, _)| id).collect()
    }

    /// What it follows from now on.
    pub fn fresh(&mut self, own: &Own) -> Vec<ConversationId> {
        let all = own.held.iter().chain(&own.takes_part).filter(|id| own.has(**id));
        let new: BTreeSet<_> = all
            .chain(&self.watched)
            .filter(|id| !self.follows.contains_key(*id) && !own.doubted.contains(*id))
            .copied()
            .collect();
        for id in &new {
            let watches = self.watched.contains(id);
            self.follows.insert(*id, Arc::new(AtomicBool::new(watches)));
        }
        new.into_iter().collect()
    }

    /// The word to the hub for what is followed from now on.
    pub fn join(&self, home: ConversationSubjects) -> hub::Ask {
        let watches = self.follows.get(&home.conversation).cloned().unwrap_or_default();
        hub::Ask::Join(Join {
            home,
            audience: Audience::Staff,
            conn: self.conn.clone(),
            viewer: self.viewer,
            gate: Some(Gate { sender: self.sender, watches, ended: self.ended.clone() }),
            resume: None,
            then: Then::Announce(View::Mine),
        })
    }
}
