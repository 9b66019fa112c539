//! Doing things to the processes of a running system.

use std::{fs, time::Duration};

use ops::{dev::guard::Signal, testing::wait_for};
use rand::{Rng, seq::SliceRandom};

use crate::world::World;

/// Another process has the place of one that ended within this time.
const BACK_WITHIN: Duration = Duration::from_secs(60);

pub fn signal(pid: u32, signal: Signal) {
    assert!(try_signal(pid, signal), "{signal:?} to {pid}");
}

/// False if it is gone already.
pub fn try_signal(pid: u32, signal: Signal) -> bool {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).is_ok()
}

/// One process of that name, drawn.
pub fn any(world: &World, name: &str, random: &mut impl Rng) -> u32 {
    let mut pids = world.pids().remove(name).unwrap_or_else(|| panic!("no process {name}"));
    pids.shuffle(random);
    pids[0]
}

/// Kills one process of that name with -9 and waits until another has its place.
pub async fn kill(world: &World, name: &str, random: &mut impl Rng) {
    kill_it(world, name, any(world, name, random)).await;
}

/// The same, of several in turn.
pub async fn kill_in_turn(world: &World, name: &str, turn: usize) {
    let all = &world.pids()[name];
    kill_it(world, name, all[turn % all.len()]).await;
}

async fn kill_it(world: &World, name: &str, pid: u32) {
    println!("kill -9 {name} ({pid})");
    signal(pid, Signal::KILL);
    replaced(world, name, pid).await;
}

/// Waits until another process has the place of `pid`.
pub async fn replaced(world: &World, name: &str, pid: u32) {
    let all = world.pids()[name].len();
    wait_for(BACK_WITHIN, &format!("{name} to be started again"), async || {
        world.pids().get(name).is_some_and(|now| now.len() == all && !now.contains(&pid))
    })
    .await;
}

/// Stops a process and all its children for a while: it neither answers nor closes connections.
pub async fn freeze(pid: u32, away: Duration) {
    let all = || std::iter::once(pid).chain(children(pid));
    all().for_each(|pid| _ = try_signal(pid, Signal::STOP));
    tokio::time::sleep(away).await;
    all().for_each(|pid| _ = try_signal(pid, Signal::CONT));
}

pub fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent).then_some(pid)
    });
    pids.collect()
}
