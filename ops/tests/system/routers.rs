//! Three routers that all decide at once, between real edges and the sockets of people.

use std::time::{Duration, Instant};

use bus_schema::{ConversationId, state::ThreadStatus};
use futures::{StreamExt as _, future::join_all, stream};
use ops::{client::Client, dev::guard::Signal, invariants, testing::wait_for};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    long, procs, seed,
    staff::Admin,
    verify,
    world::{Shape, World},
};

const AGENTS: usize = 20;
const CAPACITY: u32 = 3;
const READY_WITHIN: Duration = Duration::from_secs(30);
/// After so many faults of routers an edge is killed with all its sockets.
const EDGE_EVERY: usize = 5;
/// Conversations that are closed at once.
const CLOSING: usize = 8;

fn threads() -> usize {
    if long() { 2_000 } else { 120 }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_routers_that_are_killed_and_paused_between_real_edges_break_nothing() {
    let _turn = crate::turn().await;
    let mut random = StdRng::seed_from_u64(seed());
    let shape = Shape { routers: 3, ..Shape::default() };
    let world = World::up(shape, &[("CHATBUS_ROUTER_TURNS", "together")]).await;
    let admin = Admin::login(&world).await;
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        agents.push(admin.agent(&world, &format!("agent-{n}"), CAPACITY).await);
    }
    for agent in &agents {
        agent.ready(READY_WITHIN).await.unwrap();
    }
    let (mut visitors, mut faults, mut closed) = (Vec::new(), 0, 0);
    while visitors.len() < threads() {
        let some = random.random_range(5..15).min(threads() - visitors.len());
        // More than there is room for waits; some of those who are served leave.
        let mut leaving = served(&agents);
        leaving.shuffle(&mut random);
        leaving.truncate(some);
        let coming = join_all((0..some).map(|n| world.visitor(visitors.len() + n)));
        let (came, left, ()) = tokio::join!(coming, close(&leaving), fault(&world, &mut random));
        visitors.extend(came);
        closed += left;
        faults += 1;
        if faults % EDGE_EVERY == 0 {
            procs::kill(&world, "edge", &mut random).await;
            world.all_ready().await;
        }
    }
    let last_fault = Instant::now();
    verify::nothing_stuck(&world).await;
    let settled = last_fault.elapsed();
    println!("{faults} faults, {closed} closed under them; nothing stuck {settled:?} after the last");
    let groups = world.groups().await;
    verify::log_holds(&world, &world.log().await).await;
    // Everybody is served in the end.
    wait_for(Duration::from_secs(120), "all threads to be served and closed", async || {
        close(&served(&agents)).await;
        let report = invariants::check(&world.log().await, &groups);
        if report.open_threads == 0 { Ok(()) } else { Err(format!("{} are open", report.open_threads)) }
    })
    .await;
    let log = world.log().await;
    verify::log_holds(&world, &log).await;
    assert_eq!(invariants::check(&log, &groups).threads, threads());
}

/// Kills a router with -9, or pauses it for a while.
async fn fault(world: &World, random: &mut StdRng) {
    let router = procs::any(world, "router", random);
    if random.random_bool(0.4) {
        // It may be gone already, and its successor not listed yet.
        procs::try_signal(router, Signal::KILL);
    } else {
        procs::freeze(router, Duration::from_millis(random.random_range(50..1_500))).await;
    }
}

/// What each agent has, as their own client sees it.
fn served(agents: &[Client]) -> Vec<(&Client, ConversationId)> {
    let of = |agent| {
        let active = |id: &ConversationId| {
            Client::view(agent, *id).is_some_and(|view| view.mine)
                && Client::thread(agent, *id).is_some_and(|thread| thread.status == ThreadStatus::Active)
        };
        agent.conversations().into_iter().filter(active).map(move |id| (agent, id)).collect::<Vec<_>>()
    };
    agents.iter().flat_map(of).collect()
}

/// Each is closed by who has it; how many were answered.
async fn close(leaving: &[(&Client, ConversationId)]) -> usize {
    let closing =
        stream::iter(leaving).map(|(agent, id)| async move { agent.close_thread(*id).await.is_ok() });
    closing.buffer_unordered(CLOSING).filter(|closed| std::future::ready(*closed)).count().await
}
