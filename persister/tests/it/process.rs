//! The process from outside: what it ends with, and what it shows.

use std::time::Duration;

use ops::testing::{Postgres, Process, ProcessBuilder};

use crate::world::{SOON, World};

fn process(world: &World, database: &str) -> ProcessBuilder {
    Process::builder("persister")
        .env("CHATBUS_NATS_URL", world.nats.url())
        .env("CHATBUS_NATS_CREDS_FILE", world.persister_key())
        .env("CHATBUS_NATS_WAIT_MS", "500")
        .env("CHATBUS_DATABASE_URL", database)
        .env("CHATBUS_OPS_LISTEN", "127.0.0.1:0")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_it_ends_with_69_and_says_how_to_mend_it() {
    let world = World::new().await;
    let nobody = "postgres://chatbus:s3cret@127.0.0.1:1/chatbus";
    for command in ["run", "migrate"] {
        let mut process = process(&world, nobody).arg(command).spawn().unwrap();
        assert_eq!(process.exit_code(SOON).await, 69, "{command}: {}", process.log());
        assert!(process.log().contains("DATABASE_URL"), "{}", process.log());
        assert!(!process.log().contains("s3cret"), "{}", process.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_migrate_migrates_and_the_rest_ends_with_69_until_it_has() {
    let world = World::new().await;
    let database = Postgres::shared().await.database().await;
    let mut before = process(&world, &database.url()).arg("run").spawn().unwrap();
    assert_eq!(before.exit_code(SOON).await, 69, "{}", before.log());
    assert!(before.log().contains("persister migrate"), "{}", before.log());
    assert_eq!(checked(&world, &database.url()).await.0, 69, "not migrated yet");
    let mut migrate = process(&world, &database.url()).arg("migrate").spawn().unwrap();
    assert_eq!(migrate.exit_code(SOON).await, 0, "{}", migrate.log());
    let mut run = process(&world, &database.url()).arg("run").spawn().unwrap();
    let pause = Duration::from_millis(300);
    assert_eq!(tokio::time::timeout(pause, run.exit_code(SOON)).await.ok(), None, "{}", run.log());
    run.terminate();
    assert_eq!(run.exit_code(SOON).await, 0, "{}", run.log());
}

/// `config check`: its exit code and what it says.
async fn checked(world: &World, database: &str) -> (i32, String) {
    let mut check = process(world, database).arg("config").arg("check").spawn().unwrap();
    (check.exit_code(SOON).await, check.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_check_asks_bus_and_database_and_says_what_production_would_refuse() {
    let world = World::new().await;
    let (code, said) = checked(&world, world.database()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("unsafe: whether a power cut") && said.contains("one replica"), "{said}");
    assert!(!said.contains("wrong:") && !said.contains("unavailable:"), "{said}");

    let nobody = "postgres://chatbus:s3cret@127.0.0.1:1/chatbus";
    let (code, said) = checked(&world, nobody).await;
    assert!(code == 69 && said.contains("unavailable: ") && said.contains("CHATBUS_DATABASE_URL"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");

    // A stream that somebody changed is named with what is different.
    let js = async_nats::jetstream::new(world.bus.client.clone());
    let mut log = js.get_stream("CHAT_0").await.unwrap().cached_info().config.clone();
    log.allow_direct = false;
    js.update_stream(log).await.unwrap();
    let (code, said) = checked(&world, world.database()).await;
    assert!(code == 69 && said.contains("stream CHAT_0: allow_direct is false, not true"), "{said}");
}
