//! The simulation as a test among the others: a few seeds, for it is slow without optimisation. `router-sim` runs many,
//! and plants bugs.

use super::{Bug, Plan, run};

const SEEDS: u64 = 8;

#[test]
fn every_invariant_holds_whatever_fails() {
    for seed in 1..=SEEDS {
        let (found, seen) = run(seed, Plan::default());
        assert_eq!(found, None, "repeat with SIM_SEED={seed}");
        assert!(seen.stored > 0);
    }
}

#[test]
fn a_seed_says_everything_that_happens() {
    let seen = |_| format!("{:?}", run(7, Plan::default()));
    assert_eq!(seen(1), seen(2));
}

#[test]
fn a_planted_bug_is_found() {
    for (bug, invariant) in
        [(Bug::CapacityOffByOne, "never-over-capacity"), (Bug::MembersForgotten, "no-idle-queue")]
    {
        let plan = Plan { bug: Some(bug), ..Plan::default() };
        let found = (1..=SEEDS).find_map(|seed| run(seed, plan).0);
        assert_eq!(found.map(|found| found.invariant), Some(invariant), "{bug:?}");
    }
}
