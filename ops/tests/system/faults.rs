//! Processes are killed under load; nothing that was acknowledged is missing anywhere.

use std::{fs, sync::atomic::Ordering, time::Duration};

use ops::testing::wait_for;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    long, seed,
    traffic::Traffic,
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
    let seed = seed();
    let world = World::up(shape, &[]).await;
    let mut traffic = Traffic::start(&world, conversations, conversations.div_ceil(10), seed).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults: Vec<&str> = KILLED.iter().copied().cycle().take(KILLED.len() * rounds).collect();
    faults.shuffle(&mut random);
    faults.insert(faults.len() / 2, "postgres");

    for fault in faults {
        let before = traffic.acked();
        match fault {
            "postgres" => freeze_postgres(&world, postgres_away).await,
            name => kill(&world, name, &mut random).await,
        }
        wait_for(Duration::from_secs(60), &format!("traffic to go on after {fault}"), async || {
            traffic.acked() > before + conversations / 2
        })
        .await;
    }
    world.all_ready().await;
    traffic.stop().await;
    println!("threads opened under faults: {}", traffic.threads.load(Ordering::Relaxed));
    verify::all_agree(&world, &traffic).await;
    persister_check(&world).await;
}

/// Kills one process of that name and waits until another has its place.
async fn kill(world: &World, name: &str, random: &mut StdRng) {
    let mut pids = world.pids().remove(name).unwrap_or_else(|| panic!("no process {name}"));
    pids.shuffle(random);
    let pid = pids[0];
    println!("kill -9 {name} ({pid})");
    signal(pid, libc::SIGKILL);
    wait_for(Duration::from_secs(60), &format!("{name} to be started again"), async || {
        world.pids().get(name).is_some_and(|now| now.len() == pids.len() && !now.contains(&pid))
    })
    .await;
}

/// Stops Postgres and all its workers for a while: it neither answers nor closes connections.
async fn freeze_postgres(world: &World, away: Duration) {
    let main = world.pids()["postgres"][0];
    let all = || std::iter::once(main).chain(children(main));
    println!("postgres is away for {away:?}");
    all().for_each(|pid| signal(pid, libc::SIGSTOP));
    tokio::time::sleep(away).await;
    all().for_each(|pid| signal(pid, libc::SIGCONT));
}

pub fn signal(pid: u32, signal: i32) {
    let done =
        std::process::Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(done.success(), "kill -{signal} {pid}");
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent).then_some(pid)
    });
    pids.collect()
}

/// `read-model-is-the-log`: rebuilt from the log, schema `chat` equals the one kept.
async fn persister_check(world: &World) {
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
