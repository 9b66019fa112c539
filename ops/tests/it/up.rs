//! `ops up` runs the whole system, keeps it running, and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ops::testing::{Process, Scratch, Signal, wait_for};
use rustix::process::{Pid, kill_process, test_kill_process};

/// A first start may have to fetch servers.
const UP_WITHIN: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(40);

#[tokio::test]
async fn up_restarts_what_dies_and_leaves_no_process_and_finds_its_data_again() {
    let scratch = Scratch::new("up").unwrap();
    let data = scratch.path().join("data");

    let mut up = start(&data);
    let first = ready(&mut up, &data).await;
    let pids = pids(&first);
    let kinds: Vec<_> = pids.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["edge", "edge", "router", "persister", "admin-api", "nats-server", "postgres"]);
    for (kind, pid) in &pids {
        assert!(is_alive(*pid), "{kind} runs");
    }
    assert_eq!(first["CHATBUS_EDGE_URLS"].split(',').count(), 2);
    for told in ["CHATBUS_ADMIN_PASSWORD", "CHATBUS_AGENT_PASSWORD"] {
        wait_for(SOON, "the banner", async || up.log().contains(first[told].as_str())).await;
    }
    assert_ne!(first["CHATBUS_ADMIN_PASSWORD"], first["CHATBUS_AGENT_PASSWORD"]);

    let mut another = start(&data);
    assert_eq!(another.exit_code(SOON).await, 69);
    assert!(another.log().contains("another ops up runs there"), "{}", another.log());

    for (slot, (kind, pid)) in pids.iter().enumerate() {
        kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).unwrap();
        let what = format!("{kind} to be started again under another pid");
        wait_for(SOON, &what, async || {
            let now = self::pids(&values(&data)?)[slot].1;
            (now != *pid && is_alive(now)).then_some(())
        })
        .await;
    }

    let last = self::pids(&values(&data).unwrap());
    up.kill();
    all_gone(&last).await;

    let mut up = start(&data);
    wait_for(SOON, "the stale file to go", async || values(&data).is_none_or(|now| self::pids(&now) != last))
        .await;
    let second = ready(&mut up, &data).await;
    for kept in ["CHATBUS_WIDGET_KEY", "CHATBUS_ADMIN_PASSWORD", "CHATBUS_AGENT_PASSWORD"] {
        assert_eq!(first[kept], second[kept], "{kept}");
    }
    up.signal(Signal::INT);
    assert_eq!(up.exit_code(SOON).await, 0, "{}", up.log());
    assert!(values(&data).is_none(), "up.env goes with what it describes");
    all_gone(&self::pids(&second)).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_its_fix_and_exit_code_69() {
    let scratch = Scratch::new("up").unwrap();
    let mut up = builder(&scratch.path().join("data"))
        .env("CHATBUS_NATS_SERVER_BIN", "/nowhere/nats-server")
        .spawn()
        .unwrap();
    assert_eq!(up.exit_code(SOON).await, 69);
    assert!(up.log().contains("/nowhere/nats-server") && up.log().contains("unset it"), "{}", up.log());
}

#[tokio::test]
async fn env_of_nothing_says_how_to_start_something() {
    let scratch = Scratch::new("up").unwrap();
    let data = scratch.path().to_string_lossy().into_owned();
    let mut env = Process::builder("ops").arg("env").arg("--data").arg(data).spawn().unwrap();
    assert_eq!(env.exit_code(SOON).await, 69);
    assert!(env.log().contains("sh ops/up.sh"), "{}", env.log());
}

fn start(data: &Path) -> Process {
    builder(data).spawn().unwrap()
}

fn builder(data: &Path) -> ops::testing::ProcessBuilder {
    let mut builder = Process::builder("ops").arg("up").arg("--data").arg(data.to_string_lossy());
    for arg in ["--ports", "auto", "--edges", "2"] {
        builder = builder.arg(arg);
    }
    let wanted = ["HOME", "CHATBUS_CACHE_DIR", "CHATBUS_BIN_DIR", "CHATBUS_NO_INSTALL"];
    builder.envs(wanted.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))))
}

async fn ready(up: &mut Process, data: &Path) -> BTreeMap<String, String> {
    wait_for(UP_WITHIN, "up.env", async || {
        assert_eq!(up.try_exit_code(), None, "{}", up.log());
        values(data)
    })
    .await
}

fn values(data: &Path) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(data.join("up.env")).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn pids(values: &BTreeMap<String, String>) -> Vec<(String, i32)> {
    let entries = values["CHATBUS_PIDS"].split(',').map(|entry| entry.rsplit_once(':').unwrap());
    entries.map(|(kind, pid)| (kind.to_owned(), pid.parse().unwrap())).collect()
}

async fn all_gone(pids: &[(String, i32)]) {
    for (kind, pid) in pids {
        wait_for(SOON, &format!("{kind} to be gone"), async || !is_alive(*pid)).await;
    }
}

fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}
