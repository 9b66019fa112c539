//! Which edges are dead: their lease was absent for the grace time *in which the bus worked*.
//!
//! An outage expires all leases at once, so the time of absence starts anew whenever the bus comes back: an outage
//! logs nobody out. Nor does a pause of this process, in which it looked for nobody's lease.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{IncarnationId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    Held,
    AbsentSince(Timestamp),
}

#[derive(Debug)]
pub struct Leases {
    grace: Duration,
    known: BTreeMap<IncarnationId, Lease>,
    bus_works: bool,
}

impl Leases {
    pub fn new(grace: Duration) -> Self {
        Self { grace, known: BTreeMap::new(), bus_works: true }
    }

    pub fn set(&mut self, incarnation: IncarnationId, alive: bool, now: Timestamp) {
        let lease = self.known.entry(incarnation).or_insert(Lease::AbsentSince(now));
        match (alive, *lease) {
            (true, _) => *lease = Lease::Held,
            (false, Lease::Held) => *lease = Lease::AbsentSince(now),
            (false, Lease::AbsentSince(_)) => {}
        }
    }

    /// An agent's state or an edge's report names it: from now on its lease is looked for.
    pub fn named(&mut self, incarnation: IncarnationId, now: Timestamp) {
        self.known.entry(incarnation).or_insert(Lease::AbsentSince(now));
    }

    /// It was heard of just now, so it is not dead yet, lease or not.
    pub fn heard(&mut self, incarnation: IncarnationId, now: Timestamp) {
        let lease = self.known.entry(incarnation).or_insert(Lease::AbsentSince(now));
        if let Lease::AbsentSince(since) = lease {
            *since = now;
        }
    }

    pub fn bus_down(&mut self) {
        self.bus_works = false;
    }

    pub fn bus_works(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.bus_works, true) {
            self.begin_anew(now);
        }
    }

    /// Nobody was looked for until now.
    pub fn begin_anew(&mut self, now: Timestamp) {
        for lease in self.known.values_mut() {
            if let Lease::AbsentSince(since) = lease {
                *since = now;
            }
        }
    }

    pub fn is_dead(&self, incarnation: IncarnationId, now: Timestamp) -> bool {
        self.bus_works && self.absent_for(incarnation, now).is_some_and(|absent| absent >= self.grace)
    }

    /// All that may have connections: those that are not dead.
    pub fn perhaps(&self, now: Timestamp) -> impl Iterator<Item = IncarnationId> {
        self.known.keys().copied().filter(move |incarnation| !self.is_dead(*incarnation, now))
    }

    /// All that are dead now.
    pub fn dead(&self, now: Timestamp) -> Vec<IncarnationId> {
        self.known.keys().copied().filter(|incarnation| self.is_dead(*incarnation, now)).collect()
    }

    /// Forgets what has been absent for long and is not named: what is must still be found dead.
    pub fn forget_older(&mut self, age: Duration, now: Timestamp, named: impl Fn(IncarnationId) -> bool) {
        self.known.retain(|incarnation, lease| match lease {
            Lease::Held => true,
            Lease::AbsentSince(since) => now.since(*since) < age || named(*incarnation),
        });
    }

    fn absent_for(&self, incarnation: IncarnationId, now: Timestamp) -> Option<Duration> {
        match self.known.get(&incarnation)? {
            Lease::Held => None,
            Lease::AbsentSince(since) => Some(now.since(*since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(20);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_edge_is_dead_after_the_grace_time_without_a_lease() {
        let mut leases = Leases::new(GRACE);
        let edge = IncarnationId::NIL;
        leases.set(edge, true, at(0));
        assert!(!leases.is_dead(edge, at(1000)));
        leases.set(edge, false, at(1000));
        leases.set(edge, false, at(1010));
        assert!(!leases.is_dead(edge, at(1019)));
        assert_eq!(leases.dead(at(1020)), vec![edge]);
        leases.set(edge, true, at(1021));
        assert!(!leases.is_dead(edge, at(2000)));
    }

    #[test]
    fn an_outage_of_the_bus_logs_nobody_out() {
        let mut leases = Leases::new(GRACE);
        let edge = IncarnationId::NIL;
        leases.set(edge, true, at(0));
        leases.bus_down();
        leases.set(edge, false, at(6));
        assert!(leases.dead(at(500)).is_empty());
        leases.bus_works(at(500));
        assert!(leases.dead(at(519)).is_empty());
        assert_eq!(leases.dead(at(520)), vec![edge]);
    }

    #[test]
    fn time_in_which_nobody_was_looked_for_is_no_absence() {
        let mut leases = Leases::new(GRACE);
        let edge = IncarnationId::NIL;
        leases.named(edge, at(0));
        leases.begin_anew(at(60));
        assert!(!leases.is_dead(edge, at(79)));
        assert!(leases.is_dead(edge, at(80)));
    }

    #[test]
    fn a_report_of_an_edge_without_lease_starts_its_time_anew() {
        let mut leases = Leases::new(GRACE);
        let edge = IncarnationId::NIL;
        leases.named(edge, at(0));
        leases.heard(edge, at(15));
        leases.named(edge, at(16));
        assert!(!leases.is_dead(edge, at(34)));
        assert!(leases.is_dead(edge, at(35)));
    }
}
