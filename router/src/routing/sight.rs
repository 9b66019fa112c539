//! Whether the visitor of an open thread has a connection: the edges are asked when it counts.
//!
//! Invariant: nobody is taken for gone whom the edges were not asked about; what they say unasked only makes the router
//! ask sooner, for it may be lost, and one edge does not know of another's visitors. An answer during which a visitor
//! moved says nothing, and one that an edge has no part in says of nobody that they are gone: the edges are asked again.
//! So they are once another router has written what it saw.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::{
    ConversationId, Timestamp,
    config::Rules,
    state::{Deadline, DeadlineKind, DeskState},
};

use super::{
    chores::Chore,
    effect::Effect,
    input::Heard,
    shared::Shared,
    tenant::Tenant,
    timers::{Due, What},
};

/// A page that is loaded anew connects again within this time.
const RELOADED_WITHIN: Duration = Duration::from_secs(3);
/// Pause where the edges could not be asked, or some of them did not answer.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Conversations in one question, and questions of one tenant that are under way.
const ASKED_AT_ONCE: usize = 200;
const ASKING_MAX: usize = 4;

/// What is known of an open thread's visitor.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Whether the edges knew the visitor when they were last asked.
    there: Option<(bool, Timestamp)>,
    /// When to ask again, where that is another time than the rules say.
    again: Option<Timestamp>,
    /// The edges are being asked.
    pub asking: bool,
}

/// Questions about a tenant's visitors.
#[derive(Debug, Default)]
pub struct Questions {
    waiting: BTreeSet<ConversationId>,
    under_way: usize,
    /// Of an earlier turn at deciding: what comes of them is for nobody.
    outdated: usize,
}

impl Sight {
    /// What is due for the visitor's sake.
    pub fn due(&self, desk: &DeskState, began: Timestamp, rules: &Rules) -> Option<Due> {
        let after = rules.visitor_gone_after?;
        Some(match (gone_at(desk), self.there) {
            (Some(_), Some((true, at))) => Due { at, what: What::VisitorBack },
            (Some(gone), Some((false, at))) if at >= gone => Due { at: gone, what: What::VisitorGone },
            (Some(gone), _) => self.ask(gone),
            (None, Some((false, at))) => Due { at, what: What::VisitorLeft(at.plus(after)) },
            (None, Some((true, at))) => self.ask(at.plus(after)),
            (None, None) => self.ask(began.plus(after)),
        })
    }

    /// What the edges said is of before.
    pub fn outdate(&mut self) {
        self.there = None;
    }

    fn ask(&self, at: Timestamp) -> Due {
        Due { at: self.again.unwrap_or(at), what: What::AskEdges }
    }
}

/// When the thread ends, where the edges have missed the visitor.
pub fn gone_at(desk: &DeskState) -> Option<Timestamp> {
    let gone = desk.deadlines.iter().find(|deadline| deadline.kind == DeadlineKind::VisitorGone);
    gone.map(|deadline| deadline.at)
}

/// The thread ends then, unless the visitor comes back.
pub fn left(desk: &mut DeskState, at: Timestamp) {
    back(desk);
    desk.deadlines.push(Deadline { kind: DeadlineKind::VisitorGone, at });
}

pub fn back(desk: &mut DeskState) {
    desk.deadlines.retain(|deadline| deadline.kind != DeadlineKind::VisitorGone);
}

impl Tenant {
    /// Lines up the question whether a visitor is there.
    pub fn question(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.sight.asking = true;
            self.questions.waiting.insert(id);
        }
    }

    /// Asks the edges what is lined up.
    pub fn ask_edges(&mut self, shared: &mut Shared) {
        // While old answers may come none is asked for anew: they look the same.
        while self.questions.outdated == 0
            && self.questions.under_way < ASKING_MAX
            && !self.questions.waiting.is_empty()
        {
            let next = |_| self.questions.waiting.pop_first();
            let conversations: Vec<_> = (0..ASKED_AT_ONCE).map_while(next).collect();
            for id in &conversations {
                if let Some(conversation) = self.conversations.get_mut(id) {
                    conversation.sight.again = None;
                }
            }
            self.questions.under_way += 1;
            let edges = shared.leases.perhaps(shared.now).collect();
            shared.effects.push_back(Effect::AskEdges { tenant: self.id, conversations, edges });
        }
    }

    /// Whoever decides now asks anew, and so does this router when it decides again: by then all may have changed.
    pub fn forget_sights(&mut self) {
        let Questions { waiting, under_way, outdated } = &mut self.questions;
        waiting.clear();
        *outdated += std::mem::take(under_way);
        for (id, conversation) in self.conversations.sorted_mut() {
            if std::mem::take(&mut conversation.sight) != Sight::default() {
                self.chores.add(Chore::Expire(id));
            }
        }
    }

    /// What the edges answered; none: they could not be asked.
    pub fn edges_said(&mut self, asked: &[ConversationId], heard: Option<&Heard>, shared: &Shared) {
        if self.questions.outdated > 0 {
            self.questions.outdated -= 1;
            return;
        }
        self.questions.under_way = self.questions.under_way.saturating_sub(1);
        let now = shared.now;
        let whole =
            heard.is_some_and(|heard| shared.leases.perhaps(now).all(|edge| heard.edges.contains(&edge)));
        for id in asked {
            let Some(conversation) = self.conversations.get_mut(id) else { continue };
            let sight = &mut conversation.sight;
            // Of a thread that has ended meanwhile.
            if !std::mem::take(&mut sight.asking) {
                continue;
            }
            let there = heard.is_some_and(|heard| heard.there.contains(id));
            if sight.again.is_some() {
                // Some edges answered before the visitor moved, some after.
                sight.there = None;
            } else if there || whole {
                sight.there = Some((there, now));
            } else {
                sight.again = Some(now.plus(ASKED_AGAIN_AFTER));
            }
            self.chores.add(Chore::Expire(*id));
        }
    }

    /// An edge said that a visitor came or went.
    pub fn visitor_moved(&mut self, id: ConversationId, came: bool, now: Timestamp) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Some(life) = conversation.life() else { return };
        if self.config.rules(self.config.queue_of(life.group_id)).visitor_gone_after.is_none() {
            return;
        }
        let again = if came { now } else { now.plus(RELOADED_WITHIN) };
        let sight = &mut conversation.sight;
        if came {
            sight.there = None;
        }
        sight.again = Some(sight.again.map_or(again, |before| before.min(again)));
        self.chores.add(Chore::Expire(id));
    }
}
