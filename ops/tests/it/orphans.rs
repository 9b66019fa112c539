//! Children die with their parent, and leave nothing behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ops::dev::guard::{Guarded, Signal, Spec};
use ops::testing::{NatsServer, Postgres, Scratch, wait_for};
use rustix::process::{Pid, test_kill_process};

const SOON: Duration = Duration::from_secs(20);
/// Where the parent that is to be killed writes what it has started.
const REPORT: &str = "CHATBUS_TEST_ORPHANS_REPORT";

#[tokio::test]
async fn servers_and_directories_are_gone_after_kill_9_of_their_parent() {
    let dir = Scratch::new("orphans").unwrap();
    let report = dir.path().join("report");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "orphans::parent_to_be_killed"])
        .env(REPORT, &report)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (pids, left) = wait_for(Duration::from_secs(60), "the parent's report", async || read(&report)).await;
    for pid in &pids {
        assert!(is_alive(*pid), "{pid} runs while its parent does");
    }
    assert!(left.exists());

    parent.kill().unwrap();
    parent.wait().unwrap();

    for pid in pids {
        wait_for(SOON, "a server to follow its parent", async || !is_alive(pid)).await;
    }
    wait_for(SOON, "its directory to be removed", async || !left.exists()).await;
}

#[tokio::test]
#[ignore = "runs only as the victim of the test above"]
async fn parent_to_be_killed() {
    let Some(report) = std::env::var_os(REPORT) else { return };
    let nats = NatsServer::start().await;
    let mut paused = NatsServer::start().await;
    paused.pause();
    let postgres = Postgres::start().await;
    let dir = Scratch::new("left").unwrap();
    let pids = [nats.pid(), paused.pid(), postgres.pid()].map(|pid| pid.unwrap().to_string());
    let text = format!("{}\n{}\nend\n", pids.join(" "), dir.path().parent().unwrap().display());
    fs::write(report, text).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_child_that_ignores_its_signal_is_killed_after_the_grace_time() {
    let dir = Scratch::new("deaf").unwrap();
    let ready = dir.path().join("ready");
    let script = format!("trap '' TERM; echo > {}; while :; do sleep 1; done", ready.display());
    let spec = Spec::new("/bin/sh").arg("-c").arg(script).ending(Signal::TERM, Duration::from_secs(1));
    let child = Guarded::spawn(&spec, &dir.path().join("log")).unwrap();
    let pid = i32::try_from(child.pid()).unwrap();
    wait_for(SOON, "the trap to be set", async || ready.exists()).await;

    tokio::task::spawn_blocking(move || drop(child)).await.unwrap();

    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_childs_own_exit_code_is_reported() {
    let dir = Scratch::new("code").unwrap();
    let log = dir.path().join("log");
    let spec = Spec::new("/bin/sh").arg("-c").arg("echo said; echo complained >&2; exit 64");
    let mut child = Guarded::spawn(&spec, &log).unwrap();

    assert_eq!(child.wait(SOON).await.unwrap(), Some(64));
    assert_eq!(fs::read_to_string(log).unwrap(), "said\ncomplained\n");
    child.signal(Signal::TERM).unwrap();
}

#[tokio::test]
async fn a_signal_reaches_the_child_and_not_its_guard() {
    let dir = Scratch::new("signal").unwrap();
    let spec = Spec::new("/bin/sleep").arg("600");
    let mut child = Guarded::spawn(&spec, &dir.path().join("log")).unwrap();
    child.kill().unwrap();
    assert_eq!(child.try_wait().unwrap(), Some(128 + 9));
}

#[tokio::test]
async fn a_child_gets_the_environment_it_is_given_and_no_more() {
    let dir = Scratch::new("env").unwrap();
    let log = dir.path().join("log");
    let spec = Spec::new("/usr/bin/env").env_only([("ONLY", "this")]);
    let mut child = Guarded::spawn(&spec, &log).unwrap();
    child.wait(SOON).await.unwrap();
    let text = fs::read_to_string(log).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.contains(&"ONLY") && names.contains(&"PATH"), "{names:?}");
    assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
}

fn read(report: &Path) -> Option<(Vec<i32>, PathBuf)> {
    let text = fs::read_to_string(report).ok()?;
    let mut lines = text.lines();
    let pids = lines.next()?.split(' ').map(|pid| pid.parse().unwrap()).collect();
    let dir = lines.next()?.into();
    (lines.next()? == "end").then_some((pids, dir))
}

fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}
