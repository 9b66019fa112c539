//! A person on a train: connections are cut at any byte, swallowed, delayed and throttled, edges and the bus are killed
//! and paused, and every client ends with the log's slice for it.

use std::{sync::atomic::Ordering, time::Duration};

use ops::{client::Counts, dev::guard::Signal};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    faults::persister_check,
    long,
    net::Net,
    procs, seed,
    traffic::{Plan, Traffic},
    verify,
    world::{Shape, World},
};

/// Ways to each edge.
const LANES: usize = 8;
/// Between two faults.
const EVERY: Duration = Duration::from_millis(150);
/// One of so many faults is done to a process instead of a connection.
const PROCESS_ONE_IN: u32 = 25;
/// Traffic must go on between this many faults.
const ROUND: usize = 100;
/// After so many rounds everybody is to have come back. Whoever is cut again and again waits longer each time, up to
/// half a minute, and may miss the moments in between in which all ways are open.
const ROUNDS_UNTIL_ALL_ARE_BACK: usize = 5;
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// How many faults: `CHATBUS_FAULTS`, else as the profile says.
fn faults() -> usize {
    let asked = std::env::var("CHATBUS_FAULTS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| if long() { 10_000 } else { 500 })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_while_the_network_fails_at_any_byte() {
    let _turn = crate::turn().await;
    let seed = seed();
    let (faults, conversations) = (faults(), if long() { 500 } else { 60 });
    let world = World::up(Shape::default(), &[]).await;
    let net = Net::start(&world, LANES, seed).await;
    let plan = Plan { edges: net.urls(), ..Plan::busy(&world, conversations, seed) };
    let mut traffic = Traffic::start(&world, plan).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut done = std::collections::BTreeMap::<&str, usize>::new();
    for n in 0..faults {
        if n % ROUND == 0 {
            net.heal();
            traffic.goes_on(conversations / 2).await;
        }
        if n > 0 && n % (ROUND * ROUNDS_UNTIL_ALL_ARE_BACK) == 0 {
            for client in traffic.clients() {
                client.ready(BACK_WITHIN).await.unwrap();
            }
        }
        let name = match random.random_ratio(1, PROCESS_ONE_IN) {
            true => disturb_process(&world, &mut random).await,
            false => net.disturb(&mut random),
        };
        *done.entry(name).or_default() += 1;
        tokio::time::sleep(EVERY.mul_f64(random.random_range(0.2..1.8))).await;
    }
    println!("{faults} faults: {done:?}; {} threads opened", traffic.threads.load(Ordering::Relaxed));
    net.heal();
    world.all_ready().await;
    traffic.stop().await;
    println!("clients: {:?}", sum(&traffic));
    verify::all_agree(&world, &traffic).await;
    persister_check(&world).await;
}

/// Kills or pauses an edge or a nats-server; gives what it did.
async fn disturb_process(world: &World, random: &mut StdRng) -> &'static str {
    let (name, longest) = if random.random_bool(0.6) { ("edge", 6_000) } else { ("nats-server", 3_000) };
    let pid = procs::any(world, name, random);
    if random.random_bool(0.5) {
        procs::freeze(pid, Duration::from_millis(random.random_range(300..longest))).await;
        return if name == "edge" { "edge paused" } else { "nats-server paused" };
    }
    procs::signal(pid, Signal::KILL);
    procs::replaced(world, name, pid).await;
    if name == "edge" { "edge killed" } else { "nats-server killed" }
}

fn sum(traffic: &Traffic) -> Counts {
    let mut sum = Counts::default();
    for counts in traffic.clients().map(ops::client::Client::counts) {
        sum.connects_failed += counts.connects_failed;
        sum.disconnects += counts.disconnects;
        sum.events += counts.events;
        sum.late += counts.late;
        sum.disordered += counts.disordered;
        sum.repeated += counts.repeated;
        sum.resets += counts.resets;
        sum.replaced += counts.replaced;
        sum.retries += counts.retries;
    }
    sum
}
