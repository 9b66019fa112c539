//! What-if runs of a log that a real router wrote.

use std::time::{Duration, Instant};

use bus_schema::{
    GroupId, Shard,
    claims::Role,
    command::{Actor, Command},
    config::{GroupRecord, Member},
    state::Strategy,
    subject::stored_in_shard,
};
use ops::{
    provision::{self, Plan},
    testing::{Process, wait_for},
};
use router::service::Turns;
use serde_json::Value;
use uuid::Uuid;

use crate::kit::*;

/// How long a thread takes in this recording.
const WORK: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_log_is_played_again_and_more_room_shortens_the_waits() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.come(agent(2)).await;
    for n in 1..=6 {
        kit.start(n).await;
    }
    for n in 1..=6 {
        kit.assigned(n).await;
        let done = Instant::now() + WORK / 2;
        wait_for(SOON, "the work to be done", async || Instant::now() >= done).await;
        kit.close(n).await.unwrap();
    }
    // Somebody gives up.
    for n in 7..=9 {
        kit.start(n).await;
    }
    kit.assigned(8).await;
    kit.close(9).await.unwrap();
    kit.check().await;

    let same = replay(&kit, &[]).await;
    let (happened, replayed) = (&same["happened"], &same["replayed"]);
    assert_eq!(happened["threads"], 9);
    assert_eq!((&happened["assigned"], &happened["unserved"]), (&8.into(), &1.into()));
    for name in ["threads", "assigned", "unserved"] {
        assert_eq!(happened[name], replayed[name], "{name}: with the same settings the same happens");
    }
    for name in ["wait_mean_s", "wait_max_s", "use_share", "fairness"] {
        let [was, is] = [happened, replayed].map(|figures| figures[name].as_f64().unwrap());
        assert!((was - is).abs() < 0.15 * was.max(1.0), "{name}: {was} and {is}");
    }
    let more = replay(&kit, &["--capacity", "5", "--strategy", "round_robin"]).await;
    assert_eq!(more["happened"], same["happened"]);
    assert_eq!((&more["replayed"]["assigned"], &more["replayed"]["unserved"]), (&9.into(), &0.into()));
    let waits = |report: &Value| report["replayed"]["wait_max_s"].as_f64().unwrap();
    assert!(waits(&more) < 0.05 && waits(&same) > 0.5, "{} and {}", waits(&more), waits(&same));
    let late = replay(&kit, &["--from", &kit.log.end().await.unwrap().last.to_string()]).await;
    assert_eq!(late["happened"]["threads"], 0);
    assert_eq!(replay_text(&kit).await.lines().count(), 14);
    let first = kit.log.first_after(&stored_in_shard(SHARD), 0).await.unwrap().unwrap().at;
    assert_eq!(same["from"], first.to_string(), "not 1970");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_people_take_are_left_out_and_counted() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[5]).await;
    let manual = GroupId::from_uuid(Uuid::from_u128(0x6100));
    let members = vec![Member::normal(agent(1))];
    let (strategy, revision) = (Strategy::Manual, 100);
    kit.put_group(GroupRecord { strategy, members, revision, ..GroupRecord::new(TENANT, manual) }).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    for n in 1..=2 {
        kit.start(n).await;
        kit.assigned(n).await;
    }
    for n in 3..=5 {
        kit.start_in(n, Some(manual)).await;
        let (conversation_id, thread_id) = (conversation(n), None);
        let take = Command::Take { conversation_id, thread_id };
        let actor = Actor::agent(agent(1), Role::Agent);
        wait_for(SOON, "it to be taken", async || kit.ask(actor, take.clone()).await).await;
    }
    kit.close(5).await.unwrap();
    let figures = |report: &Value| {
        let of = |what: &str, name: &str| report[what][name].as_u64().unwrap();
        let all = ["happened", "replayed"]
            .map(|what| ["threads", "assigned", "unserved"].map(|name| of(what, name)));
        (report["left_out"].as_u64().unwrap(), all)
    };
    assert_eq!(figures(&replay(&kit, &[]).await), (3, [[2, 2, 0], [2, 2, 0]]));
    let text = replay_text(&kit).await;
    assert!(text.lines().any(|line| line.starts_with("left to people") && line.contains(" 3 ")), "{text}");
    // With rules of its own the group's threads count as all others.
    let ruled = replay(&kit, &["--strategy", "least_loaded"]).await;
    assert_eq!(figures(&ruled), (0, [[5, 5, 0], [5, 5, 0]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_threads_is_passed_over_and_none_with_any_is_said() {
    let mut kit = Kit::new().await;
    let shards = vec![SHARD, Shard(1)];
    let plan = Plan { shards, replicas: 1, log_bytes_max: 64 << 20, files_bytes_max: 64 << 20 };
    provision::apply(&kit.bus, &plan).await.unwrap();
    let of_both = [("CHATBUS_SHARDS", "1,0")];
    let ended = run(&kit, &[], &of_both).await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("no log holds a thread"), "{said}");
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    kit.start(1).await;
    let ended = run(&kit, &["--json"], &of_both).await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&report["shard"], &report["happened"]["threads"]), (&0.into(), &1.into()));
}

async fn replay(kit: &Kit, args: &[&str]) -> Value {
    let text = output(kit, &[args, &["--json"]].concat()).await;
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn replay_text(kit: &Kit) -> String {
    output(kit, &[]).await
}

async fn run(kit: &Kit, args: &[&str], env: &[(&str, &str)]) -> std::process::Output {
    tokio::process::Command::new(ops::testing::program("router"))
        .arg("replay")
        .args(args)
        .env_clear()
        .env("CHATBUS_NATS_URL", kit.server.url())
        .envs(env.iter().copied())
        .output()
        .await
        .unwrap()
}

async fn output(kit: &Kit, args: &[&str]) -> String {
    let output = run(kit, args, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_replay_does_not_understand_is_refused_with_the_usage() {
    let mut process = Process::builder("router").arg("replay").arg("--strategy").arg("best").spawn().unwrap();
    assert_ne!(process.exit_code(SOON).await, 0);
    assert!(process.log().contains("no such strategy: best"), "{}", process.log());
}
