//! `router-sim`: runs seeds for a time and says what they found.
//!
//! `SIM_SEED=<n>` repeats one and prints everything that happens; `SIM_BUG=<name>` plants a bug; `SIM_SECONDS` and
//! `SIM_SEEDS` bound a run, `SIM_FIRST` is its first seed, `SIM_STEPS` the length of each.
//! `router-sim bench` is `router bench` without a service to build.

#![expect(clippy::print_stdout, reason = "it is a program for people")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use router::{
    bench,
    sim::{Bug, Plan, Violation, run},
};

/// What CI has for it, without the planted bugs.
const SECONDS: u64 = 200;
/// Seeds in which a planted bug is to be found.
const WITHIN: u64 = 2_000;

fn main() -> ExitCode {
    let steps = number("SIM_STEPS").unwrap_or(Plan::STEPS);
    let named = std::env::var("SIM_BUG").ok();
    let bug = named.as_deref().and_then(|name| Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name));
    if let (Some(name), None) = (named, bug) {
        println!("no such bug: {name}; there are {:?}", Bug::ALL);
        return ExitCode::from(2);
    }
    let plan = Plan { steps, bug, trace: false };
    match (number("SIM_SEED"), std::env::args().nth(1).as_deref()) {
        (Some(seed), _) => repeat(seed, Plan { trace: true, ..plan }),
        (None, Some("planted")) => planted(plan),
        (None, Some("bench")) => {
            println!("{}", bench::table(&bench::SIZES.map(bench::run)));
            ExitCode::SUCCESS
        }
        (None, _) => many(plan),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn repeat(seed: u64, plan: Plan) -> ExitCode {
    match found(seed, plan).0 {
        None => {
            println!("seed {seed}: nothing found");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation:?}");
            ExitCode::FAILURE
        }
    }
}

/// What was found, and how much sweeps had to put right. A core that panics has found something as well.
fn found(seed: u64, plan: Plan) -> (Option<Violation>, u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (violation, seen) = run(seed, plan);
        (violation, seen.mended)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let what = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned();
        (Some(Violation { invariant: "no-panic", what, at_ms: 0, steps: 0 }), 0)
    })
}

fn many(plan: Plan) -> ExitCode {
    let began = Instant::now();
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = number("SIM_SEEDS").unwrap_or(u64::MAX - first);
    let seconds = match number("SIM_SECONDS") {
        Some(seconds) => Duration::from_secs(seconds),
        None if number("SIM_SEEDS").is_some() => Duration::MAX,
        None => Duration::from_secs(SECONDS),
    };
    let (mut runs, mut failed, mut mended) = (0_u64, 0_u64, 0_u64);
    for seed in first..first + seeds {
        if began.elapsed() >= seconds {
            break;
        }
        runs += 1;
        let (violation, put_right) = found(seed, plan);
        mended += put_right;
        if let Some(violation) = violation {
            failed += 1;
            println!("SIM_SEED={seed}: {violation:?}");
        }
    }
    let took = began.elapsed().as_secs_f64();
    let rate = runs as f64 / took.max(0.001);
    println!(
        "{runs} seeds of {} steps in {took:.1} s ({rate:.1} a second): {failed} violations; sweeps put {mended} right",
        plan.steps
    );
    if failed == 0 && runs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every bug that can be planted is found.
fn planted(plan: Plan) -> ExitCode {
    let mut missed = 0;
    for bug in Bug::ALL {
        let began = Instant::now();
        let plan = Plan { bug: Some(bug), ..plan };
        let shown = |seed| {
            let violation = found(seed, plan).0?;
            let right = bug.shows().is_none_or(|invariant| violation.invariant == invariant);
            right.then_some((seed, violation))
        };
        match (1..=WITHIN).find_map(shown) {
            Some((seed, violation)) => {
                let took = began.elapsed().as_secs_f64();
                println!("{bug:?}: seed {seed}, {} ({took:.1} s)", violation.invariant);
            }
            None => {
                missed += 1;
                println!("{bug:?}: not found in {WITHIN} seeds{}", by(bug));
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn by(bug: Bug) -> String {
    bug.shows().map(|invariant| format!(" by {invariant}")).unwrap_or_default()
}
