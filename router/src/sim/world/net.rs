//! The network: requests to the bus and their answers, each of which may be late or lost.

use std::{cell::RefCell, rc::Rc};

use super::{World, agenda::To};

type Then<A> = Box<dyn FnOnce(&mut World, Option<A>)>;

/// Where an answer goes; whoever asked hears it once, or that there was none.
pub struct Reply<A> {
    to: To,
    then: Rc<RefCell<Option<Then<A>>>>,
}

impl World {
    pub fn after(&mut self, ms: u64, to: To, what: &'static str, act: impl FnOnce(&mut World) + 'static) {
        let at = self.now + i64::try_from(ms).unwrap_or(i64::MAX / 2);
        self.agenda.add(at, to, what, Box::new(act));
    }

    /// Asks the bus; after `wait` without an answer there is none.
    pub fn call<A: 'static>(
        &mut self,
        from: To,
        wait: u64,
        what: &'static str,
        ask: impl FnOnce(&mut World, Reply<A>) + 'static,
        then: impl FnOnce(&mut World, Option<A>) + 'static,
    ) {
        let then = Rc::new(RefCell::new(Some(Box::new(then) as Then<A>)));
        let reply = Reply { to: from, then: then.clone() };
        if let Some(delay) = self.leg(from) {
            self.after(delay, To::World, what, move |world| ask(world, reply));
        }
        // A connection that breaks says so before the time is over.
        let broken = !self.calm && self.random.chance(50);
        let wait = if broken { self.random.between(1, wait) } else { wait };
        self.after(wait, from, "no answer", move |world| {
            let then = then.borrow_mut().take();
            match then {
                Some(then) => then(world, None),
                None => world.idle = true,
            }
        });
    }

    pub fn answer<A: 'static>(&mut self, reply: Reply<A>, answer: A) {
        let Some(delay) = self.leg(reply.to) else { return };
        self.after(delay, reply.to, "answer", move |world| {
            let then = reply.then.borrow_mut().take();
            match then {
                Some(then) => then(world, Some(answer)),
                None => world.idle = true,
            }
        });
    }

    /// How long one way takes now; none where it is lost.
    pub fn leg(&mut self, of: To) -> Option<u64> {
        let linked = match of {
            To::World => true,
            To::Router(n, _) => self.routers[n].linked,
            To::Edge(n, _) => self.edges[n].linked,
        };
        if !linked {
            return None;
        }
        if self.calm {
            return Some(self.random.between(0, 3));
        }
        match self.random.below(1000) {
            0..5 => None,
            5..7 => Some(self.random.between(1000, 8000)),
            7..30 => Some(self.random.between(10, 500)),
            _ => Some(self.random.between(0, 4)),
        }
    }
}
