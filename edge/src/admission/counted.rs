//! Counting what is open, altogether and under keys.
//!
//! Invariant: what was let in is counted until its pass is dropped; keys with nothing open are not kept.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many may be open; none: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    pub all: Option<u64>,
    pub each: Option<u64>,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    All,
    Each,
}

#[derive(Debug)]
pub struct Counted<K: Hash + Eq + Copy> {
    bounds: Bounds,
    open: Mutex<Open<K>>,
}

#[derive(Debug)]
struct Open<K> {
    all: u64,
    each: HashMap<K, u64>,
}

/// The right to be open.
#[derive(Debug)]
pub struct Pass<K: Hash + Eq + Copy> {
    counted: Arc<Counted<K>>,
    key: Option<K>,
}

impl<K: Hash + Eq + Copy> Counted<K> {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, open: Mutex::new(Open { all: 0, each: HashMap::new() }) })
    }

    /// Lets one in. Without a key it counts only with all.
    pub fn enter(self: &Arc<Self>, key: Option<K>) -> Result<Pass<K>, Full> {
        let mut open = self.lock();
        if self.bounds.all.is_some_and(|most| open.all >= most) {
            return Err(Full::All);
        }
        if let Some(key) = key {
            let of_key = open.each.get(&key).copied().unwrap_or(0);
            if self.bounds.each.is_some_and(|most| of_key >= most) {
                return Err(Full::Each);
            }
            open.each.insert(key, of_key + 1);
        }
        open.all += 1;
        Ok(Pass { counted: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, Open<K>> {
        // Numbers alone are changed under it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Copy> Drop for Pass<K> {
    fn drop(&mut self) {
        let mut open = self.counted.lock();
        open.all = open.all.saturating_sub(1);
        let Some(key) = self.key else { return };
        if let Some(of_key) = open.each.get_mut(&key) {
            *of_key -= 1;
            if *of_key == 0 {
                open.each.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_and_all_are_bounded_and_given_back() {
        let counted = Counted::new(Bounds { all: Some(3), each: Some(2) });
        let first = counted.enter(Some(1)).unwrap();
        let second = counted.enter(Some(1)).unwrap();
        assert_eq!(counted.enter(Some(1)).unwrap_err(), Full::Each);
        let third = counted.enter(None).unwrap();
        assert_eq!(counted.enter(Some(2)).unwrap_err(), Full::All);
        drop(second);
        let again = counted.enter(Some(1)).unwrap();
        drop((first, third, again));
        let open = counted.lock();
        assert_eq!((open.all, open.each.len()), (0, 0));
    }

    #[test]
    fn without_bounds_all_are_let_in() {
        let counted = Counted::new(Bounds::default());
        let passes: Vec<_> = (0..1_000).map(|_| counted.enter(Some(7)).unwrap()).collect();
        assert_eq!(passes.len(), 1_000);
    }
}
