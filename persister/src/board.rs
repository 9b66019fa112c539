//! One readiness check for several shards.
//!
//! Invariant: it passes when every shard has said that it is well, and names the first one that is not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bus_schema::Shard;
use ops::health::Check;

pub struct Board {
    check: Check,
    shards: Mutex<BTreeMap<Shard, Result<(), String>>>,
}

impl Board {
    pub fn new(check: Check, shards: &[Shard]) -> Self {
        let unknown = |shard: &Shard| (*shard, Err("not yet known".to_owned()));
        Self { check, shards: Mutex::new(shards.iter().map(unknown).collect()) }
    }

    pub fn ok(&self, shard: Shard) {
        self.set(shard, Ok(()));
    }

    pub fn fail(&self, shard: Shard, reason: String) {
        self.set(shard, Err(reason));
    }

    fn set(&self, shard: Shard, state: Result<(), String>) {
        // Held while the check is set, so that the last to speak is the last to be heard.
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.insert(shard, state);
        let wrong = shards.iter().find_map(|(shard, state)| Some((shard, state.as_ref().err()?)));
        match wrong {
            Some((shard, reason)) => self.check.fail(format!("shard {shard}: {reason}")),
            None => self.check.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ops::health::Health;

    use super::*;

    #[test]
    fn a_healthy_shard_does_not_speak_for_another() {
        let health = Health::default();
        let board = Board::new(health.check("log"), &[Shard(0), Shard(1)]);
        board.ok(Shard(0));
        assert!(!health.is_ready(), "shard 1 has not spoken");
        board.fail(Shard(1), "halted".to_owned());
        board.ok(Shard(0));
        assert!(health.report().text().contains("shard 1: halted"));
        board.ok(Shard(1));
        assert!(health.is_ready());
    }
}
