//! `ops replay` as people run it: on the log of a system that runs.

use std::time::{Duration, Instant};

use ops::testing::{program, wait_for};
use serde_json::Value;

use crate::{
    staff::Admin,
    world::{Shape, World},
};

const SOON: Duration = Duration::from_secs(30);
/// How long the one agent is busy with the first, while the others wait.
const BUSY: Duration = Duration::from_secs(2);

/// What the command says, and how it ended.
async fn replay(world: &World, args: &[&str]) -> std::process::Output {
    let data = world.data();
    let mut command = tokio::process::Command::new(program("ops"));
    command.env_clear().arg("replay").arg("--data").arg(&data).args(args);
    command.output().await.unwrap()
}

async fn report(world: &World, args: &[&str]) -> Value {
    let output = replay(world, &[args, &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_replay_plays_the_log_of_a_running_system_once_more() {
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &[]).await;
    let nothing = replay(&world, &[]).await;
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.status.success() && said.contains("no log holds a thread"), "{said}");

    let admin = Admin::login(&world).await;
    let agent = admin.agent(&world, "only", 1).await;
    agent.ready(SOON).await.unwrap();
    let begun = Instant::now();
    let mut visitors = Vec::new();
    for _ in 0..3 {
        visitors.push(world.visitor(0).await);
    }
    for visitor in &visitors {
        let conversation = visitor.conversation.unwrap();
        wait_for(SOON, "the agent to have the next", async || {
            agent.view(conversation).is_some_and(|view| view.mine) && begun.elapsed() >= BUSY
        })
        .await;
        agent.close_thread(conversation).await.unwrap();
    }

    let same = report(&world, &[]).await;
    for figures in [&same["happened"], &same["replayed"]] {
        let counts = ["threads", "assigned", "unserved"].map(|name| figures[name].as_u64());
        assert_eq!(counts, [Some(3), Some(3), Some(0)], "{same}");
        assert!(figures["wait_max_s"].as_f64().unwrap() > 1.0, "two waited for the first to end: {same}");
    }
    let more = report(&world, &["--capacity", "3", "--strategy", "round_robin"]).await;
    assert_eq!(more["happened"], same["happened"]);
    let replayed = &more["replayed"];
    assert!(replayed["wait_max_s"].as_f64().unwrap() < 0.5, "with room for three nobody waits: {more}");
    assert_eq!((&more["strategy"], &more["capacity"]), (&"round_robin".into(), &3.into()));

    let table = replay(&world, &[]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("threads") && line.ends_with(" 3")), "{table}");
    let wrong = replay(&world, &["--strategy", "best"]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("no such strategy: best"), "{said}");
}
