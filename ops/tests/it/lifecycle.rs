//! A service's life, with real signals: `test-service` is run as a process, and edge and router check their settings.

use std::{net::SocketAddr, time::Duration};

use ops::{
    dev::probe,
    testing::{Process, ProcessBuilder, Signal, wait_for},
};

use crate::kit::SOON;

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn service(ops: SocketAddr) -> ProcessBuilder {
    Process::builder("test-service")
        .ops_listener(ops)
        .env("CHATBUS_OPS_LISTEN", ops.to_string())
        .env("CHATBUS_LOG_FORMAT", "json")
}

async fn ready(process: &Process) {
    wait_for(SOON, "readiness", async || process.readyz().await.ok().filter(|answer| answer.is_ok())).await;
}

async fn ended(mut process: Process) -> (i32, String) {
    (process.exit_code(SOON).await, process.log())
}

#[tokio::test]
async fn a_signal_takes_readiness_away_first_and_then_drains() {
    let ops = free_address();
    let mut process = service(ops).env("EXAMPLE_DRAIN_MS", "700").spawn().unwrap();
    ready(&process).await;
    assert_eq!(process.readyz().await.unwrap().body, "[+] work ok\nready\n");
    process.terminate();
    let draining = wait_for(SOON, "readiness to go", async || {
        process.readyz().await.ok().filter(|answer| answer.status == 503)
    })
    .await;
    assert!(draining.body.starts_with("[-] shutdown has begun\n"), "{}", draining.body);
    assert!(probe::get(ops, "/livez").await.unwrap().is_ok(), "a process that drains is alive");
    let (code, log) = ended(process).await;
    assert_eq!(code, 0, "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
}

#[tokio::test]
async fn work_that_outlives_the_grace_time_ends_with_1() {
    let process = service(free_address()).env("EXAMPLE_DRAIN_MS", "60000").env("CHATBUS_GRACE_MS", "100");
    let mut process = process.spawn().unwrap();
    ready(&process).await;
    process.terminate();
    assert_eq!(ended(process).await.0, 1);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut process = service(free_address()).env("EXAMPLE_DRAIN_MS", "60000").spawn().unwrap();
    ready(&process).await;
    process.signal(Signal::INT);
    wait_for(SOON, "the drain to begin", async || {
        process.readyz().await.ok().filter(|answer| answer.status == 503)
    })
    .await;
    process.terminate();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), ended(process)).await.unwrap().0, 1);
}

#[tokio::test]
async fn a_task_that_fails_or_panics_stops_the_process_with_70() {
    for (how, said) in [("fails", "a task failed"), ("panics", "a task panicked")] {
        let process = service(free_address()).env("EXAMPLE_TASK", how).spawn().unwrap();
        let (code, log) = ended(process).await;
        assert_eq!(code, 70, "{log}");
        assert!(log.contains(said), "{log}");
    }
}

#[tokio::test]
async fn a_bad_configuration_lists_everything_and_ends_with_64() {
    let process = service(free_address()).env("CHATBUS_GRACE_MS", "soon").env("CHATBUS_NATS_URL", "nowhere");
    let (code, log) = ended(process.spawn().unwrap()).await;
    assert_eq!(code, 64);
    assert!(log.contains("CHATBUS_GRACE_MS=soon") && log.contains("CHATBUS_NATS_URL=nowhere"), "{log}");
    let (code, log) = ended(service(free_address()).arg("rnu").spawn().unwrap()).await;
    assert!(code == 64 && log.contains("usage:"), "{log}");
    let (code, log) = ended(service(free_address()).env("CHATBUS_LOG", "a=b=c").spawn().unwrap()).await;
    assert!(code == 64 && log.contains("CHATBUS_LOG=a=b=c"), "{log}");
}

#[tokio::test]
async fn a_taken_port_ends_with_69_and_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, log) = ended(service(address).spawn().unwrap()).await;
    assert!(code == 69 && log.contains(&address.to_string()), "{code} {log}");
}

#[tokio::test]
async fn commands_that_run_once_give_their_own_exit_codes() {
    let run = async |args: &[&str]| {
        let builder = args.iter().fold(service(free_address()), |builder, arg| builder.arg(*arg));
        ended(builder.spawn().unwrap()).await
    };
    let (code, log) = run(&["config", "check", "--offline"]).await;
    assert!(code == 0 && log.contains("unsafe: CHATBUS_NATS_URL="), "what production would refuse: {log}");
    let nowhere = service(free_address()).env("CHATBUS_NATS_URL", "nats://127.0.0.1:1");
    let nowhere = nowhere.env("CHATBUS_NATS_WAIT_MS", "100").arg("config").arg("check");
    let (code, log) = ended(nowhere.spawn().unwrap()).await;
    assert!(code == 69 && log.contains("unavailable: connect to the bus"), "{code} {log}");
    let (code, log) = run(&["config", "print"]).await;
    assert!(code == 0 && log.contains("CHATBUS_OPS_LISTEN=127.0.0.1:"), "{log}");
    assert_eq!(run(&["healthcheck"]).await.0, 1, "nothing runs there");
    let (code, log) = run(&["fail"]).await;
    assert!(code == 70 && log.contains("as asked"), "{log}");
}

#[tokio::test]
async fn a_config_check_of_edge_and_router_names_the_setting_that_is_wrong() {
    for (service, own) in [("edge", "CHATBUS_LISTEN=nowhere"), ("router", "CHATBUS_ROUTER_TURNS=never")] {
        let check = || {
            let process = Process::builder(service).env("CHATBUS_VISITOR_KEY_FILE", "/nowhere/visitor.pem");
            process.arg("config").arg("check").arg("--offline")
        };
        let (code, said) = ended(check().spawn().unwrap()).await;
        assert!(code == 0 && said.contains("the settings are valid"), "{service}: {code} {said}");
        for wrong in [own, "CHATBUS_NATS_CREDS_FILE=/nowhere"] {
            let (name, value) = wrong.split_once('=').unwrap();
            let (code, said) = ended(check().env(name, value).spawn().unwrap()).await;
            assert!(code == 64 && said.contains(wrong), "{service} {wrong}: {code} {said}");
        }
    }
}

#[tokio::test]
async fn a_healthcheck_asks_the_process_that_runs() {
    let ops = free_address();
    let mut process = service(ops).spawn().unwrap();
    ready(&process).await;
    let (code, said) = ended(service(ops).arg("healthcheck").spawn().unwrap()).await;
    assert!(code == 0 && said.ends_with("ready\n"), "{said}");
    process.terminate();
    assert_eq!(ended(process).await.0, 0);
}

#[tokio::test]
async fn metrics_are_described_and_named_by_the_rules() {
    let ops = free_address();
    let process = service(ops).spawn().unwrap();
    ready(&process).await;
    let text = probe::get(ops, "/metrics").await.unwrap().body;
    assert!(text.contains("chatbus_build_info{service=\"router\",version=\""), "{text}");
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(text.contains(&format!("# HELP {family} ")), "{name} is not described");
        assert!(name.starts_with("chatbus_") || name.starts_with("process_"), "{name}");
        let counter = text.contains(&format!("# TYPE {name} counter"));
        assert_eq!(counter, name.ends_with("_total"), "{name}");
    }
}
