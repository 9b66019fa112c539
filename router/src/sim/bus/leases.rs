//! The bucket of leases: keys with a revision and an end.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<V> {
    pub revision: u64,
    pub value: V,
    ends: Timestamp,
}

/// What a compare-and-set came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Done(u64),
    Mismatch,
}

#[derive(Debug)]
pub struct Bucket<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    last: u64,
}

impl<K: Ord + Clone, V: Clone> Bucket<K, V> {
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), last: 0 }
    }

    /// Written whatever there is.
    pub fn put(&mut self, key: K, value: V, lives: Duration, at: Timestamp) -> u64 {
        self.last += 1;
        let entry = Entry { revision: self.last, value, ends: at.plus(lives) };
        self.entries.insert(key, entry);
        self.last
    }

    /// Written if the key is free (`expected` none) or has this revision.
    pub fn swap(&mut self, key: K, value: V, expected: Option<u64>, lives: Duration, at: Timestamp) -> Kept {
        let revision = self.get(&key, at).map(|entry| entry.revision);
        if revision != expected {
            return Kept::Mismatch;
        }
        Kept::Done(self.put(key, value, lives, at))
    }

    pub fn get(&self, key: &K, at: Timestamp) -> Option<&Entry<V>> {
        self.entries.get(key).filter(|entry| at < entry.ends)
    }

    pub fn keys(&self, at: Timestamp) -> Vec<K> {
        self.entries.iter().filter(|(_, entry)| at < entry.ends).map(|(key, _)| key.clone()).collect()
    }
}
