//! Three router processes that all work at once, without a lease, and are killed and paused at random.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bus_schema::{
    ConversationId,
    claims::Role,
    command::{Actor, Command},
    state::{CloseReason, Strategy, ThreadStatus},
};
use futures::{StreamExt as _, stream};
use ops::{
    invariants::{self, Invariant},
    testing::{Process, long, wait_for},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::kit::*;

const ROUTERS: usize = 3;
const AGENTS: u128 = 20;
const CAPACITY: u32 = 3;
/// Nothing is stuck so long after the last fault; four times that is waited for on a busy machine.
const STUCK_MAX: Duration = Duration::from_secs(5);
/// Conversations that are closed at once.
const CLOSING: usize = 8;

fn threads() -> u128 {
    if long() { 2_000 } else { 240 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_routers_without_a_lease_that_are_killed_and_paused_break_nothing() {
    let seed = std::env::var("CHATBUS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("CHATBUS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut kit = Kit::new().await;
    kit.configure(Strategy::RoundRobin, &[CAPACITY; AGENTS as usize]).await;
    let ports: Vec<SocketAddr> = (0..ROUTERS).map(|_| free_port()).collect();
    let mut routers: Vec<Process> = ports.iter().map(|ops| kit.process_with(*ops, "together")).collect();
    for router in &mut routers {
        router.ready(SOON).await;
    }
    // What sweeps put right hides what went wrong.
    let mut put_right = 0;
    for n in 1..=AGENTS {
        kit.come(agent(n)).await;
    }
    let (mut started, mut faults, mut closed) = (0, 0, 0);
    while started < threads() {
        let some = random.random_range(5..15).min(threads() - started);
        for _ in 0..some {
            started += 1;
            kit.start(started).await;
        }
        let victim = random.random_range(0..ROUTERS);
        put_right += fault(&mut routers[victim], ports[victim], &mut random).await;
        faults += 1;
        // More than there is room for waits; some of those who are served leave.
        let served = served(&kit).await;
        let leaving: Vec<_> =
            served.sample(&mut random, (some as usize).min(served.len())).copied().collect();
        closed += close(&kit, &leaving).await;
    }
    for router in &mut routers {
        router.resume();
    }
    let last_fault = Instant::now();
    wait_for(4 * STUCK_MAX, "nothing to be stuck", async || {
        let report = invariants::check(&kit.everything().await, &kit.groups);
        let stuck = report.violations.iter().filter(|v| v.invariant == Invariant::NoIdleQueue).count();
        if stuck == 0 { Ok(()) } else { Err(format!("{stuck} wait though somebody is free")) }
    })
    .await;
    eprintln!(
        "{faults} faults, {closed} closed under them; nothing stuck {:?} after the last",
        last_fault.elapsed()
    );
    kit.check().await;
    // Everybody is served in the end.
    wait_for(SOON * 4, "all threads to be served and closed", async || {
        let served = served(&kit).await;
        close(&kit, &served).await;
        let report = invariants::check(&kit.everything().await, &kit.groups);
        if report.open_threads == 0 { Ok(()) } else { Err(format!("{} are open", report.open_threads)) }
    })
    .await;
    let report = kit.check().await;
    assert_eq!(report.threads as u128, threads());
    for n in 1..=AGENTS {
        assert_eq!(kit.agent(agent(n)).await.unwrap().load(), 0);
    }
    for ops in ports {
        put_right += wait_for(SOON, "the count of sweeps", async || mended(ops).await).await;
    }
    assert_eq!(put_right, 0, "sweeps had something to put right");
}

/// Kills a router with -9, or pauses it and leaves it to be found in the middle of something. What a killed one had put
/// right by sweeps, which nobody counts any more.
async fn fault(router: &mut Process, ops: SocketAddr, random: &mut StdRng) -> u64 {
    if random.random_bool(0.4) {
        let put_right = mended(ops).await.unwrap_or(0);
        router.kill();
        router.restart().unwrap();
        return put_right;
    }
    router.pause();
    let paused = Instant::now() + Duration::from_millis(random.random_range(50..1_500));
    wait_for(SOON, "a pause to pass", async || Instant::now() >= paused).await;
    router.resume();
    0
}

/// Conversations that agents hold now.
async fn served(kit: &Kit) -> Vec<ConversationId> {
    let mut held = Vec::new();
    for n in 1..=AGENTS {
        let state = kit.agent(agent(n)).await;
        held.extend(state.into_iter().flat_map(|state| state.conversations).map(|held| held.conversation_id));
    }
    held
}

/// Closes them as a supervisor does; how many were answered.
async fn close(kit: &Kit, conversations: &[ConversationId]) -> usize {
    let supervisor = Actor::agent(agent(900), Role::Supervisor);
    let closing = stream::iter(conversations.to_vec()).map(|conversation_id| async move {
        let reason = CloseReason::Resolved;
        let close = Command::Close { conversation_id, thread_id: None, reason };
        kit.ask(supervisor, close).await.is_ok()
    });
    closing.buffer_unordered(CLOSING).filter(|closed| std::future::ready(*closed)).count().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_processes_do_work_together_without_a_lease() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[5]).await;
    let mut one = kit.process_with(free_port(), "together");
    let mut two = kit.process_with(free_port(), "together");
    one.ready(SOON).await;
    two.ready(SOON).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.assigned(1).await;
    // No lease has to end before the other goes on.
    one.pause();
    kit.start(2).await;
    kit.assigned(2).await;
    one.resume();
    two.kill();
    kit.start(3).await;
    kit.assigned(3).await;
    assert_eq!(kit.life(3).await.status, ThreadStatus::Active);
    kit.check().await;
}
