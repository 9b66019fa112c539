//! What Postgres may do: go away, hang, break off, be full, be locked. Nothing is lost, doubled or parked for it, and the
//! watermark never says more than the rows do.

use bus_schema::Lane;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use ops::testing::{Direction, Fault, FaultProxy, Postgres};
use persister::db::{DbError, Options, connect, migrations};

use crate::{
    story::{Story, start, tell},
    world::{Running, World, number, reaches, rows},
};

/// A Postgres that a test may maltreat.
struct Victim {
    postgres: Postgres,
    name: String,
}

impl Victim {
    async fn new() -> Self {
        let postgres = Postgres::start().await;
        let name = postgres.database().await.name().to_owned();
        migrations::run(&postgres.url(&name)).await.unwrap();
        Self { postgres, name }
    }

    fn url(&self) -> String {
        self.postgres.url(&self.name)
    }

    async fn sql(&self) -> AsyncPgConnection {
        connect(&self.url(), &Options::new("test")).await.unwrap()
    }

    /// The same database by way of `proxy`.
    fn url_by(&self, proxy: &FaultProxy) -> String {
        self.url().replace(&self.postgres.address().to_string(), &proxy.address().to_string())
    }
}

/// Says something to each of the persister's connections.
async fn to_backends(sql: &mut AsyncPgConnection, function: &str) -> i64 {
    let backends = format!(
        "SELECT count({function}(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'chatbus-persister' AND state <> 'idle'"
    );
    number(sql, &backends).await
}

/// Rows and watermark tell of the same `messages` of one conversation, and nothing was parked.
async fn agrees(sql: &mut AsyncPgConnection, messages: i64) {
    assert_eq!(number(sql, "SELECT count(*) FROM messages").await, messages);
    assert_eq!(number(sql, "SELECT visitor_messages FROM threads").await, messages);
    assert_eq!(number(sql, "SELECT max(seq) - (SELECT seq FROM watermark) FROM events").await, 0);
    assert_eq!(number(sql, "SELECT count(*) FROM parked").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_it_waits_and_then_resumes() {
    let mut victim = Victim::new().await;
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let persister = Running::start(world.settings_with(&victim.url()));
    persister.is_ready().await;
    // In the middle of writing, so that the outcome of a batch may be unknown.
    tell(&world, &mut story, 50).await;
    victim.postgres.kill();
    let last = tell(&world, &mut story, 20).await;
    persister.says("Postgres cannot be reached").await;
    assert!(!persister.context.health.is_ready());
    victim.postgres.restart().await;
    let mut sql = victim.sql().await;
    reaches(&mut sql, last).await;
    persister.is_ready().await;
    agrees(&mut sql, 70).await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_hangs_is_given_up_and_nothing_is_written_twice() {
    let (victim, world) = (Victim::new().await, World::new().await);
    let proxy = FaultProxy::start(victim.postgres.address(), 1).await.unwrap();
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let persister = Running::start(world.settings_with(&victim.url_by(&proxy)));
    let last = tell(&world, &mut story, 10).await;
    let mut sql = victim.sql().await;
    reaches(&mut sql, last).await;
    proxy.inject(Fault::BlackHole);
    let last = tell(&world, &mut story, 10).await;
    persister.says("no answer within").await;
    agrees(&mut sql, 10).await;
    // What was held back arrives now, beside what is written anew.
    proxy.heal();
    reaches(&mut sql, last).await;
    persister.is_ready().await;
    agrees(&mut sql, 20).await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_break_at_any_byte_of_a_transaction() {
    let (victim, world) = (Victim::new().await, World::new().await);
    let proxy = FaultProxy::start(victim.postgres.address(), 1).await.unwrap();
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let persister = Running::start(world.settings_with(&victim.url_by(&proxy)));
    let mut sql = victim.sql().await;
    let mut last = tell(&world, &mut story, 10).await;
    reaches(&mut sql, last).await;
    let to_server = (1..8).map(|step| (Direction::ToServer, step * 700));
    let to_client = (0..12).map(|step| (Direction::ToClient, step * 17));
    let mut told = 10;
    for (direction, bytes) in to_server.chain(to_client) {
        proxy.inject(Fault::CutAfter { direction, bytes });
        last = tell(&world, &mut story, 3).await;
        told += 3;
        proxy.heal();
        proxy.cut_all();
    }
    reaches(&mut sql, last).await;
    agrees(&mut sql, told).await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_cancelled_statements_and_ended_backends_pass() {
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let persister = world.persister();
    let last = tell(&world, &mut story, 5).await;
    world.reaches(last).await;
    let (mut sql, mut holder) = (world.sql().await, world.sql().await);
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        holder.batch_execute("BEGIN; LOCK TABLE messages IN SHARE MODE").await.unwrap();
        let last = tell(&world, &mut story, 5).await;
        ops::testing::wait_for(crate::world::SOON, "a writer to wait for the lock", async || {
            if to_backends(&mut sql, function).await > 0 { Ok(()) } else { Err("none") }
        })
        .await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        world.reaches(last).await;
        persister.is_ready().await;
    }
    agrees(&mut sql, 15).await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_and_deadlocks_are_told_as_what_passes() {
    let world = World::new().await;
    let mut holder = world.sql().await;
    holder.batch_execute("BEGIN; LOCK TABLE messages; LOCK TABLE marks").await.unwrap();
    let soon = std::time::Duration::from_millis(20);
    let lock = Options { lock_max: soon, ..Options::new("test") };
    let statement = Options { statement_max: soon, ..Options::new("test") };
    for (options, query) in [(lock, "LOCK TABLE marks"), (statement, "SELECT pg_sleep(9)")] {
        let mut other = connect(world.database(), &options).await.unwrap();
        let error: DbError = other.batch_execute(&format!("BEGIN; {query}")).await.unwrap_err().into();
        assert!(error.is_transient() && !error.is_refusal(), "{error:?}");
    }
    holder.batch_execute("ROLLBACK; BEGIN; LOCK TABLE messages").await.unwrap();
    let mut other = world.sql().await;
    other.batch_execute("BEGIN; LOCK TABLE marks").await.unwrap();
    let both = tokio::join!(
        holder.batch_execute("LOCK TABLE marks; ROLLBACK"),
        other.batch_execute("LOCK TABLE messages; ROLLBACK")
    );
    let error: DbError = both.0.and(both.1).unwrap_err().into();
    assert!(error.is_transient() && !error.is_refusal(), "{error:?}");
}

/// A limit to the size of files stands for a disk that is full: the server is told the same way, wherever it writes.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_it_where_it_is_until_there_is_room() {
    // More than a segment of the server's own log, which is made whole; less than what is said.
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    const ROOM: usize = 17 << 20;
    const TEXT: usize = 64 << 10;
    let (victim, world) = (Victim::new().await, World::new().await);
    let limit = |fsize: &str| {
        let pid = victim.postgres.pid().unwrap().to_string();
        let owner = std::fs::metadata(format!("/proc/{pid}")).unwrap();
        let mut prlimit = std::process::Command::new("prlimit");
        prlimit.args(["--pid", &pid, &format!("--fsize={fsize}:")]).uid(owner.uid()).gid(owner.gid());
        assert!(prlimit.status().unwrap().success());
    };
    // Connections made from now on inherit it.
    limit(&ROOM.to_string());
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let (mut last, mut told, mut random) = (0, 0, 1_u64);
    while told * TEXT < ROOM * 3 / 2 {
        // Nothing that could be compressed.
        let letters = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + u8::try_from(random >> 59).unwrap())
        });
        let text: String = letters.filter(|letter| letter.is_ascii_alphanumeric()).take(TEXT).collect();
        let message = story.message(story.by_visitor(), &text);
        last = world.store(story.lane(Lane::Msg), &message).await;
        told += 1;
    }
    let persister = Running::start(world.settings_with(&victim.url()));
    persister.says("could not extend file").await;
    let mut sql = victim.sql().await;
    let stopped = number(&mut sql, "SELECT seq FROM watermark").await;
    assert!(stopped > 1 && stopped < i64::try_from(last).unwrap(), "{stopped} of {last}");
    agrees(&mut sql, stopped - 1).await;
    limit("unlimited");
    let backends = "SELECT pg_terminate_backend(pid)::text AS row FROM pg_stat_activity
                     WHERE application_name = 'chatbus-persister'";
    rows(&mut sql, backends).await;
    reaches(&mut sql, last).await;
    persister.is_ready().await;
    agrees(&mut sql, i64::try_from(told).unwrap()).await;
    persister.stop().await;
}
