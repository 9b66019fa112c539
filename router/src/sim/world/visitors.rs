//! Visitors' connections: which edge has them, what edges say of them unasked, and what they answer.
//!
//! As edges do: a visitor who comes or goes is told to whoever listens, which may be lost; who was on an edge that
//! crashed is gone without a word; an edge that is asked names those of its own.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use bus_schema::{ConversationId, TenantId};

use super::{World, agenda::To, edges::NOTICED_MS};
use crate::{
    routing::{Heard, Input},
    sim::{bugs::Bug, names},
};

/// How long edges have to answer.
const ANSWER_WITHIN_MS: u64 = 1_000;
/// Who is there for so long is found by whoever asks: the time to answer, and some for what is decided by it.
const FOUND_MS: i64 = 2_000;

/// A visitor's one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor {
    edge: Option<usize>,
    /// When that began.
    since: i64,
}

impl World {
    /// Connects, if there is an edge and no connection yet.
    pub fn visitor_comes(&mut self, n: u128) {
        if self.visitors.get(&n).is_some_and(|visitor| visitor.edge.is_some()) {
            return;
        }
        let up: Vec<usize> = (0..self.edges.len()).filter(|edge| self.edges[*edge].up).collect();
        let Some(edge) = self.random.pick(&up).copied() else { return };
        self.visitors.insert(n, Visitor { edge: Some(edge), since: self.now });
        self.tell_of_visitor(edge, n, true);
    }

    /// Closes the page; some open it again.
    pub fn visitor_goes(&mut self, n: u128) {
        let Some(edge) = self.visitors.get(&n).and_then(|visitor| visitor.edge) else { return };
        self.visitors.insert(n, Visitor { edge: None, since: self.now });
        self.tell_of_visitor(edge, n, false);
        self.visitor_comes_back(n);
    }

    fn visitor_comes_back(&mut self, n: u128) {
        if self.random.chance(600) {
            let away = self.random.between(100, 15_000);
            self.after(away, To::World, "a visitor is back", move |world| world.visitor_comes(n));
        }
    }

    /// Whoever had a connection there has none.
    pub fn visitors_of_crashed(&mut self, edge: usize) {
        for n in self.setting.visitors() {
            if self.visitors.get(&n).is_some_and(|visitor| visitor.edge == Some(edge)) {
                self.visitors.insert(n, Visitor { edge: None, since: self.now });
                self.visitor_comes_back(n);
            }
        }
    }

    fn tell_of_visitor(&mut self, edge: usize, n: u128, came: bool) {
        let (from, of) = (self.to_edge(edge), names::conversation(n));
        for router in 0..self.routers.len() {
            let to = self.to(router);
            let Some((there, here)) = self.leg(from).zip(self.leg(to)).filter(|_| self.bus_up) else {
                continue;
            };
            self.after(there + here, to, "hears of a visitor", move |world| {
                // Most of these lead to nothing: the steps of a run are for what is decided.
                world.idle = true;
                world.tell(router, Input::Visitor { tenant: names::tenant(n), conversation: of, came });
            });
        }
    }

    /// Asks every edge which of these have a connection there.
    pub fn ask_edges(&mut self, router: usize, tenant: TenantId, asked: Vec<ConversationId>) {
        let to = self.to(router);
        let could = self.bus_up && self.routers[router].linked;
        let heard = Rc::new(RefCell::new(Heard::default()));
        for edge in (0..self.edges.len()).filter(|_| could) {
            let of = self.to_edge(edge);
            let (Some(delay), asked, heard) = (self.leg(of), asked.clone(), heard.clone()) else { continue };
            self.after(delay, of, "is asked for visitors", move |world| {
                world.idle = true;
                if !world.edges[edge].up || !world.bus_up {
                    return;
                }
                let (there, incarnation) = (world.visitors_at(edge, &asked), world.edges[edge].incarnation);
                if let Some(delay) = world.leg(to) {
                    world.after(delay, To::World, "says which visitors it has", move |world| {
                        world.idle = true;
                        let mut heard = heard.borrow_mut();
                        heard.there.extend(there);
                        heard.edges.insert(incarnation);
                    });
                }
            });
        }
        self.after(ANSWER_WITHIN_MS, to, "has heard the edges", move |world| {
            let mut heard = heard.take();
            if world.plan.bug == Some(Bug::VisitorsUnheard) {
                heard.there.clear();
            }
            let heard = could.then_some(heard);
            world.tell(router, Input::EdgesSaid { tenant, asked, heard });
        });
    }

    fn visitors_at(&self, edge: usize, asked: &[ConversationId]) -> BTreeSet<ConversationId> {
        let kept = self.plan.bug == Some(Bug::LeftVisitorKept);
        let here = |id: &&ConversationId| {
            self.visitor_of(**id).is_some_and(|visitor| visitor.edge == Some(edge) || kept)
        };
        asked.iter().filter(here).copied().collect()
    }
}

/// What checks look at.
impl World {
    fn visitor_of(&self, id: ConversationId) -> Option<&Visitor> {
        self.visitors.get(self.numbers.get(&id)?)
    }

    /// Whoever asks finds this visitor, and that for a while.
    pub fn is_surely_there(&self, id: ConversationId) -> bool {
        let Some(Visitor { edge: Some(edge), since }) = self.visitor_of(id) else { return false };
        let works = self.now - self.bus_since >= NOTICED_MS && self.is_reachable(*edge);
        works && self.now - since >= FOUND_MS
    }

    /// Since when this visitor has no connection.
    pub fn visitor_away_since(&self, id: ConversationId) -> Option<i64> {
        let visitor = self.visitor_of(id)?;
        visitor.edge.is_none().then_some(visitor.since)
    }

    /// A router was not paused so recently that what it heard is old.
    pub fn hears_at_once(&self, router: usize) -> bool {
        self.now - self.routers[router].paused_until >= FOUND_MS
    }
}
