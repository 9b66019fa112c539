//! `one-order` over a bus that loses, doubles, delays and reorders live copies, on one server and on three whose leaders
//! are paused, killed and stepped down.

#![allow(clippy::print_stdout, reason = "seeds and counts are what a run is repeated and judged by")]

use std::time::Duration;

use bus_schema::{Shard, stream};
use futures::future::join;
use ops::testing::{LiveShim, NatsCluster, long, wait_for};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    lanes::Lanes,
    talk::{SHARE, SHARE_AT_THE_TAIL, Talks, promised},
    world::World,
};

/// What a writer says while one thing is done to a leader.
const MESSAGES_PER_FAULT: usize = 60;
/// Of the live copies, where marks, notes and messages cross.
const SHARE_OF_LANES: f64 = 0.1;
const LEADER_WITHIN: Duration = Duration::from_secs(30);

fn seed() -> u64 {
    let seed = std::env::var("CHATBUS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CHATBUS_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_over_a_bus_that_loses_doubles_delays_and_reorders() {
    let seed = seed();
    let (count, messages) = if long() { (100, 1_000) } else { (25, 80) };
    let world = World::new().await;
    let shims = [LiveShim::start(world.nats.address(), SHARE, seed).await.unwrap()];
    let edges = [world.edge().await, world.edge_with(&[("NATS_URL", &shims[0].url())]).await];
    let mut talks = Talks::open(&world, &edges, count, seed).await;
    talks.write_on(messages).await;
    all_repaired(&mut talks, &shims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_while_leaders_of_three_are_paused_killed_and_stepped_down() {
    let seed = seed();
    let (count, faults) = if long() { (50, 60) } else { (10, 3) };
    let mut world = World::of_three().await;
    let mut shims = Vec::new();
    for n in 0..world.nats.len() {
        shims.push(LiveShim::start(world.nats.address(n), SHARE, seed ^ n as u64).await.unwrap());
    }
    let urls: Vec<_> = shims.iter().map(LiveShim::url).collect();
    let edges = [world.edge().await, world.edge_with(&[("NATS_URL", &urls.join(","))]).await];
    let mut talks = Talks::open(&world, &edges, count, seed).await;
    let mut random = StdRng::seed_from_u64(seed);
    let client = world.nats.client().await;
    for n in 0..faults {
        let fault = disturb_leader(&mut world.nats, &client, n % 3, &mut random);
        join(fault, talks.write_on(MESSAGES_PER_FAULT)).await;
        world.nats.wait_healthy().await;
    }
    all_repaired(&mut talks, &shims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_a_later_one_of_another_lane_says_late_and_nothing_else_does() {
    let seed = seed();
    let (count, rounds) = if long() { (60, 60) } else { (12, 5) };
    let world = World::new().await;
    let shim = LiveShim::start(world.nats.address(), SHARE_OF_LANES, seed).await.unwrap();
    let edges = [world.edge().await, world.edge_with(&[("NATS_URL", &shim.url())]).await];
    let mut lanes = Lanes::open(&world, &edges, count).await;
    lanes.fill(rounds).await;
    let late = lanes.are_the_logs_slices(&world).await;
    println!("{late} came late; {}", shim.tampered());
    assert!(late > 0, "nothing came late");
}

/// Steps down, pauses or kills who leads the log.
async fn disturb_leader(
    nats: &mut NatsCluster,
    client: &async_nats::Client,
    what: usize,
    random: &mut StdRng,
) {
    let log = stream::log_name(Shard(0));
    let leader =
        wait_for(LEADER_WITHIN, "the log to have a leader", async || nats.leader(client, &log).await).await;
    match what {
        0 => nats.step_down(client, &log).await,
        1 => {
            nats.pause(leader);
            tokio::time::sleep(Duration::from_millis(random.random_range(300..3_000))).await;
            nats.resume(leader);
        }
        _ => {
            nats.kill(leader);
            nats.restart(leader).await;
        }
    }
}

async fn all_repaired(talks: &mut Talks, shims: &[LiveShim]) {
    let mid_stream = talks.mid_stream(shims).await;
    for shim in shims {
        shim.set_share(SHARE_AT_THE_TAIL);
    }
    talks.write().await;
    let at_the_tail = talks.at_the_tail(shims).await;
    for shim in shims {
        println!("{}", shim.tampered());
    }
    let promised = promised();
    assert!(mid_stream < promised.0 && at_the_tail < promised.1, "later than {promised:?}");
}
