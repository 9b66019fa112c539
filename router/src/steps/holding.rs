//! The lease that keeps one router of a shard working.
//!
//! For efficiency alone: a router that believes to hold it and does not is refused by the log, write by write.

use bus_schema::IncarnationId;
use serde::{Deserialize, Serialize};

use super::turn::Role;

/// What the lease says of its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub incarnation: IncarnationId,
    /// Which process: one that starts again in its place need not wait for its own lease to end.
    pub place: String,
}

/// What to ask the bucket of leases; every write lets the lease live anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Take it if nobody has it.
    Create,
    /// Keep it, or take it over, if this is its revision.
    Update(u64),
    /// Read who has it.
    Look,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    Done(u64),
    Mismatch,
    /// The bucket cannot be reached. Nobody else can take it either.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Ask(Ask),
    /// That was all for this time; the role, where it changed.
    Rest(Option<Role>),
}

#[derive(Debug)]
pub struct Holding {
    me: Holder,
    held: Option<u64>,
    looked: bool,
    said: Option<Role>,
}

impl Holding {
    pub fn new(me: Holder) -> Self {
        Self { me, held: None, looked: false, said: None }
    }

    pub fn me(&self) -> &Holder {
        &self.me
    }

    /// It is time to keep the lease, or to try for it.
    pub fn due(&mut self) -> Ask {
        self.looked = false;
        self.held.map_or(Ask::Create, Ask::Update)
    }

    pub fn wrote(&mut self, wrote: Wrote) -> Next {
        match wrote {
            Wrote::Done(revision) => self.rest(Some(revision)),
            Wrote::Mismatch if self.looked => self.rest(None),
            Wrote::Mismatch => Next::Ask(Ask::Look),
            Wrote::Failed => Next::Rest(None),
        }
    }

    /// Who has it, at which revision.
    pub fn looked(&mut self, entry: Option<(u64, Option<Holder>)>) -> Next {
        self.looked = true;
        match entry {
            // Its own, stored by a write whose answer was lost; or of the process that was in this place before.
            Some((revision, Some(theirs))) if theirs.place == self.me.place => {
                Next::Ask(Ask::Update(revision))
            }
            _ => self.rest(None),
        }
    }

    fn rest(&mut self, held: Option<u64>) -> Next {
        self.held = held;
        let role = if held.is_some() { Role::Active } else { Role::StandBy };
        let changed = self.said.replace(role) != Some(role);
        Next::Rest(changed.then_some(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(place: &str) -> Holder {
        Holder { incarnation: IncarnationId::NIL, place: place.into() }
    }

    #[test]
    fn it_is_kept_by_its_revision_and_left_to_whoever_else_has_it() {
        let mut holding = Holding::new(holder("a"));
        assert_eq!(holding.due(), Ask::Create);
        assert_eq!(holding.wrote(Wrote::Done(3)), Next::Rest(Some(Role::Active)));
        assert_eq!(holding.due(), Ask::Update(3));
        assert_eq!(holding.wrote(Wrote::Failed), Next::Rest(None), "an outage changes nothing");
        assert_eq!(holding.due(), Ask::Update(3));
        assert_eq!(holding.wrote(Wrote::Mismatch), Next::Ask(Ask::Look));
        assert_eq!(holding.looked(Some((9, Some(holder("b"))))), Next::Rest(Some(Role::StandBy)));
        assert_eq!(holding.due(), Ask::Create);
    }

    #[test]
    fn its_own_lease_is_taken_over_by_whoever_starts_in_its_place() {
        let mut holding = Holding::new(holder("a"));
        holding.due();
        assert_eq!(holding.wrote(Wrote::Mismatch), Next::Ask(Ask::Look));
        assert_eq!(holding.looked(Some((9, Some(holder("a"))))), Next::Ask(Ask::Update(9)));
        assert_eq!(holding.wrote(Wrote::Mismatch), Next::Rest(Some(Role::StandBy)), "somebody was faster");
        holding.due();
        holding.wrote(Wrote::Mismatch);
        assert_eq!(holding.looked(None), Next::Rest(None), "it ended meanwhile");
    }
}
