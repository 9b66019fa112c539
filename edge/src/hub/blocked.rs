//! Rooms that wait for the window. Pure.
//!
//! Invariant: tenants take turns, and a tenant's rooms go in the order in which they came; a tenant that may not write
//! now holds no other up.

use std::collections::{HashMap, VecDeque};

use bus_schema::{TenantId, subject::ConversationSubjects};

#[derive(Debug, Default)]
pub struct Blocked {
    /// None of them empty.
    rooms: HashMap<TenantId, VecDeque<ConversationSubjects>>,
    /// Each tenant that has rooms here, once.
    turns: VecDeque<TenantId>,
}

impl Blocked {
    pub fn push(&mut self, home: ConversationSubjects) {
        let rooms = self.rooms.entry(home.tenant).or_default();
        if rooms.is_empty() {
            self.turns.push_back(home.tenant);
        }
        rooms.push_back(home);
    }

    /// The next room of a tenant that may write.
    pub fn next(&mut self, admits: impl Fn(TenantId) -> bool) -> Option<ConversationSubjects> {
        for _ in 0..self.turns.len() {
            let tenant = self.turns.pop_front()?;
            if !admits(tenant) {
                self.turns.push_back(tenant);
                continue;
            }
            let rooms = self.rooms.get_mut(&tenant)?;
            let next = rooms.pop_front();
            if rooms.is_empty() {
                self.rooms.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            return next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{ConversationId, Shard};
    use uuid::Uuid;

    fn home(tenant: u128, conversation: u128) -> ConversationSubjects {
        ConversationSubjects {
            shard: Shard(0),
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
            conversation: ConversationId::from_uuid(Uuid::from_u128(conversation)),
        }
    }

    #[test]
    fn tenants_take_turns_and_one_that_may_not_holds_no_other_up() {
        let mut blocked = Blocked::default();
        for conversation in 1..=3 {
            blocked.push(home(1, conversation));
        }
        blocked.push(home(2, 4));
        blocked.push(home(3, 5));
        assert_eq!(blocked.next(|_| false), None);
        assert_eq!(blocked.next(|_| true), Some(home(1, 1)));
        assert_eq!(blocked.next(|tenant| tenant != home(2, 0).tenant), Some(home(3, 5)));
        assert_eq!(blocked.next(|_| true), Some(home(1, 2)));
        assert_eq!(blocked.next(|_| true), Some(home(2, 4)));
        assert_eq!(blocked.next(|_| true), Some(home(1, 3)));
        assert_eq!(blocked.next(|_| true), None);
        assert!(blocked.rooms.is_empty() && blocked.turns.is_empty());
    }
}
