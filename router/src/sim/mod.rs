//! Simulations of routing: three routers with the real decisions on a model of the bus, in virtual time, on one
//! thread, all of it from one seed.
//!
//! A seed says everything that happens, so a run that failed is repeated by its number. What is real and what is a
//! model: `docs/simulation.md`. Built for tests and for the `router-sim` program alone.

mod bugs;
mod bus;
mod check;
pub(crate) mod names;
mod random;
mod tamper;
#[cfg(test)]
mod tests;
mod world;

pub use bugs::Bug;
pub use world::Seen;

/// What one run is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Events with faults; after them everything comes to rest.
    pub steps: u64,
    pub bug: Option<Bug>,
    pub trace: bool,
}

impl Plan {
    pub const STEPS: u64 = 2_000;
}

impl Default for Plan {
    fn default() -> Self {
        Self { steps: Self::STEPS, bug: None, trace: false }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
    pub at_ms: i64,
    pub steps: u64,
}

/// Runs one seed to its end, or to what must not be.
pub fn run(seed: u64, plan: Plan) -> (Option<Violation>, Seen) {
    world::World::new(seed, plan).run()
}
