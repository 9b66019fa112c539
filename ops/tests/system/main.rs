//! The whole system, through its running binaries: the invariants of `docs/ARCHITECTURE.md` under faults and races.
//!
//! `CHATBUS_LONG=1` (`sh ops/test.sh --long`) makes each run longer and adds the cluster of three. Every random choice
//! comes from a seed that is printed; `CHATBUS_SEED=…` repeats it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "seeds and counts are what a failed run is repeated and judged by")]

mod browser;
mod collection;
mod dead_edge;
mod demo_page;
mod deploys;
mod faults;
mod life;
mod logins;
mod net;
mod network;
mod outage;
mod procs;
mod races;
mod replay;
mod routers;
mod seeds;
mod staff;
mod stalled;
mod traffic;
mod verify;
mod walks;
mod world;

/// Whether this is the long profile.
fn long() -> bool {
    std::env::var("CHATBUS_LONG").is_ok_and(|value| value == "1")
}

/// Tests that load the machine or break things for long take turns: what they hold the system to is a matter of seconds,
/// and two of them at once fill two cores.
async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// The seed of this run, printed so that it can be repeated.
fn seed() -> u64 {
    let seed =
        std::env::var("CHATBUS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("CHATBUS_SEED={seed}");
    seed
}
