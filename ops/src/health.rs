//! Whether the process is ready: named checks that parts of a service keep up to date.
//!
//! Invariant: ready means that every registered check passes and no shutdown has begun; a shutdown is never
//! taken back.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The checks of a process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    checks: Mutex<BTreeMap<&'static str, Result<(), String>>>,
    draining: AtomicBool,
}

/// One check; it fails until it is first said to be well.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    shared: Arc<Shared>,
}

/// What every check says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub draining: bool,
    pub checks: Vec<(&'static str, Result<(), String>)>,
}

impl Health {
    /// Registers a check, or gives a further handle on one.
    pub fn check(&self, name: &'static str) -> Check {
        self.shared.checks().entry(name).or_insert_with(|| Err("not yet checked".to_owned()));
        Check { name, shared: self.shared.clone() }
    }

    /// Not ready from now on.
    pub fn begin_draining(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    pub fn report(&self) -> Report {
        Report {
            draining: self.shared.draining.load(Ordering::Relaxed),
            checks: self.shared.checks().iter().map(|(name, state)| (*name, state.clone())).collect(),
        }
    }

    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed) && self.shared.checks().values().all(Result::is_ok)
    }
}

impl Check {
    pub fn ok(&self) {
        self.set(Ok(()));
    }

    /// Fails, with a reason people can act on.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, state: Result<(), String>) {
        let mut checks = self.shared.checks();
        let before = checks.insert(self.name, state.clone());
        drop(checks);
        match (before, state) {
            (Some(Err(_)), Ok(())) => tracing::info!(check = self.name, "check passes"),
            (Some(Ok(())) | None, Err(reason)) => tracing::warn!(check = self.name, reason, "check fails"),
            (Some(Ok(())) | None, Ok(())) | (Some(Err(_)), Err(_)) => {}
        }
    }
}

impl Shared {
    fn checks(&self) -> MutexGuard<'_, BTreeMap<&'static str, Result<(), String>>> {
        // Each change is one insert, so a panic elsewhere cannot leave it half done.
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    pub fn is_ready(&self) -> bool {
        !self.draining && self.checks.iter().all(|(_, state)| state.is_ok())
    }

    /// One line for each check, as `/readyz?verbose` shows them.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if self.draining {
            out.push_str("[-] shutdown has begun\n");
        }
        for (name, state) in &self.checks {
            let _ = match state {
                Ok(()) => writeln!(out, "[+] {name} ok"),
                Err(reason) => writeln!(out, "[-] {name}: {reason}"),
            };
        }
        out.push_str(if self.is_ready() { "ready\n" } else { "not ready\n" });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_check_passes() {
        let health = Health::default();
        assert!(health.is_ready());
        let bus = health.check("bus");
        let keys = health.check("keys");
        bus.ok();
        assert!(!health.is_ready(), "a check that never spoke has not passed");
        keys.ok();
        assert!(health.is_ready());
        bus.fail("disconnected");
        assert_eq!(health.report().text(), "[-] bus: disconnected\n[+] keys ok\nnot ready\n");
    }

    #[test]
    fn a_process_that_drains_is_never_ready_again() {
        let health = Health::default();
        health.begin_draining();
        health.check("bus").ok();
        assert!(!health.is_ready());
        assert!(!health.report().is_ready());
    }
}
