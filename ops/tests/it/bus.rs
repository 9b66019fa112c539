//! The connection, provisioning and buckets.

use std::time::Duration;

use bus_schema::stream;
use ops::{
    kv::Kv,
    log::Log,
    nats::{self, Durability, Options},
    provision::{self, Outcome, Plan},
    service::{Service, code_of},
    settings::{Settings, names},
    testing::{NatsOptions, NatsServer, Sync, wait_for},
};

use crate::kit::{SHARD, SOON, connect, plan, provisioned};

#[tokio::test]
async fn a_bus_that_is_not_there_is_given_up_within_the_wait_with_69() {
    let mut options = Options::new("nats://127.0.0.1:1", "edge");
    options.wait = Duration::from_millis(200);
    let error = nats::connect_with(options).await.unwrap_err();
    assert_eq!(code_of(&error.into()), 69);
}

#[tokio::test]
async fn a_credentials_file_that_is_none_is_a_bad_configuration() {
    let server = NatsServer::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let mut options = Options::new(server.url(), "edge");
    options.credentials = Some(file.path().to_path_buf());
    let error = anyhow::Error::from(nats::connect_with(options).await.unwrap_err());
    assert_eq!(code_of(&error), 64);
    assert!(!format!("{error:#}").contains("hunter2"));
}

#[tokio::test]
async fn a_reconnect_raises_the_generation_and_the_check_follows() {
    let mut server = NatsServer::start().await;
    let settings = Settings::from_pairs(Service::Edge, &[(names::NATS_URL, &server.url())]).unwrap();
    let context = ops::service::Context::new(settings);
    let bus = nats::connect(&context, "edge").await.unwrap();
    assert!(context.health.is_ready());
    assert_eq!((bus.is_connected(), bus.generation()), (true, 0));
    server.kill();
    wait_for(SOON, "the loss to be noticed", async || (!context.health.is_ready()).then_some(())).await;
    server.restart().await;
    wait_for(SOON, "readiness", async || context.health.is_ready().then_some(())).await;
    assert!(bus.generation() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_dropped_for_a_slow_reader_raise_the_generation_without_a_reconnect() {
    let server = NatsServer::start().await;
    let bus = connect(server.url()).await;
    let _never_read = bus.client.subscribe("flood").await.unwrap();
    for _ in 0..70_000 {
        bus.client.publish("flood", "x".into()).await.unwrap();
    }
    let mut state = bus.state.clone();
    let seen =
        tokio::time::timeout(SOON, state.wait_for(|state| state.generation > 0)).await.unwrap().unwrap();
    assert!(seen.connected && seen.slow_consumers > 0 && seen.reconnects == 0, "{seen:?}");
}

#[tokio::test]
async fn provisioning_twice_changes_nothing_and_services_find_all_they_need() {
    let server = NatsServer::start().await;
    let bus = connect(server.url()).await;
    let error = provision::verify(&bus, &[SHARD]).await.unwrap_err();
    assert_eq!(code_of(&error.into()), 69);
    let first = provision::apply(&bus, &plan()).await.unwrap();
    assert!(first.iter().all(|item| item.outcome == Outcome::Created), "{first:?}");
    assert_eq!(first.len(), 1 + stream::BUCKETS.len() + stream::OBJECTS.len());
    let again = provision::apply(&bus, &plan()).await.unwrap();
    assert!(again.iter().all(|item| item.outcome == Outcome::Same), "{again:?}");
    provision::verify(&bus, &[SHARD]).await.unwrap();
}

#[tokio::test]
async fn limits_are_widened_and_never_narrowed() {
    let (_server, log) = provisioned().await;
    let outcome = async |bytes: u64| {
        let plan = Plan { log_bytes_max: bytes, ..plan() };
        provision::apply(log.bus(), &plan).await.unwrap().remove(0).outcome
    };
    let now = plan().log_bytes_max;
    assert!(matches!(outcome(now / 2).await, Outcome::Differs(_)));
    assert_eq!(log.end().await.unwrap().bytes_max, Some(now));
    assert!(matches!(outcome(now * 2).await, Outcome::Changed(_)));
    assert_eq!(log.end().await.unwrap().bytes_max, Some(now * 2));
    provision::verify(log.bus(), &[SHARD]).await.unwrap();
}

#[tokio::test]
async fn keys_are_compared_and_set() {
    let (_server, log) = provisioned().await;
    let kv = Kv::open(log.bus(), stream::META).await.unwrap();
    assert!(kv.get("a").await.unwrap().is_none());
    let first = kv.create("a", "1", None).await.unwrap();
    assert!(kv.create("a", "2", None).await.unwrap_err().is_mismatch());
    let second = kv.update("a", "2", first).await.unwrap();
    assert!(kv.update("a", "3", first).await.unwrap_err().is_mismatch());
    assert_eq!(kv.get("a").await.unwrap().unwrap().revision, second);
    kv.delete("a").await.unwrap();
    assert!(kv.get("a").await.unwrap().is_none());
    kv.create("a", "4", None).await.unwrap();
    kv.put("b.c", "5").await.unwrap();
    let mut keys = kv.keys().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["a", "b.c"]);
}

#[tokio::test]
async fn a_watch_gives_what_is_there_and_then_every_change() {
    let (_server, log) = provisioned().await;
    let kv = Kv::open(log.bus(), stream::CONFIG).await.unwrap();
    assert!(kv.watch(">").await.unwrap().is_current(), "nothing to wait for in an empty bucket");
    kv.put("x.1", "a").await.unwrap();
    kv.put("y.1", "b").await.unwrap();
    kv.put("x.2", "c").await.unwrap();
    let mut watch = kv.watch("x.*").await.unwrap();
    assert!(!watch.is_current());
    assert_eq!(watch.next().await.unwrap().key, "x.1");
    assert_eq!(watch.next().await.unwrap().key, "x.2");
    assert!(watch.is_current());
    kv.delete("x.1").await.unwrap();
    kv.put("x.3", "d").await.unwrap();
    let gone = watch.next().await.unwrap();
    assert_eq!((gone.key.as_str(), gone.value), ("x.1", None));
    assert_eq!(watch.next().await.unwrap().value.unwrap().as_ref(), b"d");
}

#[tokio::test]
async fn a_lease_goes_by_itself_unless_it_is_kept() {
    let (_server, log) = provisioned().await;
    let kv = Kv::open(log.bus(), stream::LEASES).await.unwrap();
    let second = Duration::from_secs(1);
    let held = kv.create("router.0", "me", Some(second)).await.unwrap();
    assert!(kv.create("router.0", "you", Some(second)).await.unwrap_err().is_mismatch());
    let kept = kv.update_for("router.0", "me", held, second).await.unwrap();
    assert!(kept > held);
    wait_for(SOON, "the lease to go", async || {
        let gone = kv.get("router.0").await.ok()?.is_none();
        gone.then_some(())
    })
    .await;
    kv.create("router.0", "you", Some(second)).await.unwrap();
}

#[tokio::test]
async fn production_on_one_replica_needs_a_server_that_syncs() {
    for (sync, monitor, profile, wanted) in [
        (Sync::Always, true, "production", Some(Durability::Synced)),
        (Sync::Default, true, "production", None),
        (Sync::Always, false, "production", None),
        (Sync::Default, true, "development", Some(Durability::Unsynced)),
        (Sync::Default, false, "development", Some(Durability::Unknown)),
    ] {
        let server = NatsServer::with(NatsOptions { sync, ..NatsOptions::default() }).await;
        let bus = connect(server.url()).await;
        provision::apply(&bus, &plan()).await.unwrap();
        let (url, monitor_url) = (server.url(), server.monitor_url());
        let mut pairs = vec![
            (names::PROFILE, profile),
            (names::NATS_URL, url.as_str()),
            (names::NATS_CREDS_FILE, "/unused"),
        ];
        if monitor {
            pairs.push((names::NATS_MONITOR_URL, monitor_url.as_str()));
        }
        let settings = Settings::from_pairs(Service::Router, &pairs).unwrap();
        let found = nats::check_durability(&settings, &Log::new(bus, SHARD)).await;
        match wanted {
            Some(wanted) => assert_eq!(found.unwrap(), wanted),
            None => assert_eq!(code_of(&found.unwrap_err().into()), 69),
        }
    }
}
