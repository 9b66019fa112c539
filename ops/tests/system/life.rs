//! `ops up` and the commands around it, as a stranger uses them.

use std::{fs, process::Output, time::Duration};

use ops::testing::{program, wait_for};

use crate::world::{Shape, World};

async fn run(world: &World, args: &[&str], env: &[(&str, &str)]) -> Output {
    let kept = ["PATH", "HOME", "CHATBUS_CACHE_DIR", "CHATBUS_NO_INSTALL"];
    let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    let mut command = tokio::process::Command::new(program("ops"));
    command.args(args).env_clear().envs(kept).envs(world.env()).envs(env.iter().copied());
    command.output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_plays_the_main_job_on_a_running_system() {
    let world = World::up(Shape::default(), &[]).await;
    let output = run(&world, &["demo"], &[]).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_missing_and_how_to_mend_it() {
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &[]).await;
    let data = world.env_file().with_file_name("").to_string_lossy().into_owned();
    let nowhere = format!("127.0.0.1:{}", ops::dev::ports::free().unwrap());
    let (database, monitor) = (format!("postgres://chatbus@{nowhere}/chatbus"), format!("http://{nowhere}"));
    let missing = [
        ("CHATBUS_DATABASE_URL", database.as_str()),
        ("CHATBUS_NATS_MONITOR_URL", &monitor),
        ("CHATBUS_ROUTER_OPS_URLS", &monitor),
    ];
    for (env, code, broken) in
        [(&[][..], 0, &[][..]), (&missing[..], 69, &["NATS", "Postgres", "router"][..])]
    {
        let output = run(&world, &["doctor", "--json", "--data", &data], env).await;
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let mut found: Vec<&str> = Vec::new();
        for finding in &findings {
            assert_eq!(finding["fix"].is_string(), finding["status"] != "fine", "{finding}");
            if finding["status"] == "broken" {
                found.push(finding["check"].as_str().unwrap());
            }
        }
        found.sort_unstable();
        assert_eq!(found, broken, "{said}");
        assert!(findings.iter().any(|finding| finding["check"] == "edge"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_finds_its_data_and_keys_again_and_leaves_nothing_behind() {
    let mut world = World::up(Shape { edges: 1, ..Shape::default() }, &[]).await;
    let before = world.env();
    let pids: Vec<u32> = world.pids().into_values().flatten().collect();
    let events = world.log().await.len();
    world.stop().await;
    gone(&pids).await;
    assert!(!world.env_file().exists(), "up.env says that a system runs which does not");

    world.restart_after_stop(Shape { edges: 1, ..Shape::default() }).await;
    let after = world.env();
    for kept in ["CHATBUS_WIDGET_KEY", "CHATBUS_ADMIN_PASSWORD", "CHATBUS_AGENT_PASSWORD"] {
        assert_eq!(before[kept], after[kept], "{kept}");
    }
    assert!(world.log().await.len() >= events, "the log is another one");

    let pids: Vec<u32> = world.pids().into_values().flatten().collect();
    world.kill();
    gone(&pids).await;
}

/// Waits until none of `pids` is a process any more.
async fn gone(pids: &[u32]) {
    wait_for(Duration::from_secs(30), "all processes to be gone", async || {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| alive(*pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

/// A zombie that its parent has not collected yet is gone.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
