//! Processes are killed under load; nothing that was acknowledged is missing anywhere.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    long, procs, seed,
    traffic::{Plan, Traffic},
    verify,
    world::{Shape, World},
};

/// What is killed with -9, by its name in `CHATBUS_PIDS`.
const KILLED: [&str; 5] = ["edge", "router", "persister", "admin-api", "nats-server"];

#[tokio::test(flavor = "multi_thread")]
async fn acked_is_stored_and_one_order_while_everything_is_killed() {
    let (conversations, rounds, postgres_away) = if long() { (200, 5, 30) } else { (60, 2, 10) };
    under_faults(Shape::default(), conversations, rounds, Duration::from_secs(postgres_away)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_is_stored_and_one_order_on_a_cluster_whose_nodes_are_killed() {
    if !long() {
        println!("runs in the long profile: sh ops/test.sh --long");
        return;
    }
    let shape = Shape { nats_replicas: 3, ..Shape::default() };
    under_faults(shape, 200, 5, Duration::from_secs(30)).await;
}

async fn under_faults(shape: Shape, conversations: usize, rounds: usize, postgres_away: Duration) {
    let _turn = crate::turn().await;
    let seed = seed();
    let world = World::up(shape, &[]).await;
    let mut traffic = Traffic::start(&world, Plan::busy(&world, conversations, seed)).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults: Vec<&str> = KILLED.iter().copied().cycle().take(KILLED.len() * rounds).collect();
    faults.shuffle(&mut random);
    faults.insert(faults.len() / 2, "postgres");

    let mut turns = BTreeMap::new();
    for fault in faults {
        let turn = turns.entry(fault).or_insert(0);
        match fault {
            "postgres" => {
                println!("postgres is away for {postgres_away:?}");
                procs::freeze(world.pids()["postgres"][0], postgres_away).await;
            }
            name => procs::kill_in_turn(&world, name, *turn).await,
        }
        *turn += 1;
        traffic.goes_on(conversations / 2).await;
    }
    world.all_ready().await;
    traffic.stop().await;
    println!("threads opened under faults: {}", traffic.threads.load(Ordering::Relaxed));
    verify::all_agree(&world, &traffic).await;
    persister_check(&world).await;
}

/// `read-model-is-the-log`: rebuilt from the log, schema `chat` equals the one kept.
pub async fn persister_check(world: &World) {
    let output = tokio::process::Command::new(ops::testing::program("persister"))
        .arg("check")
        .env_clear()
        .envs(world.env())
        .env("CHATBUS_NATS_CREDS_FILE", world.key("nats-persister.nk"))
        .output()
        .await
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "persister check: {text}");
    println!("{text}");
}
