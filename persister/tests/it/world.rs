//! A bus, a database and a persister of a test's own; on the bus each is the user it would be in production.

use std::{path::PathBuf, time::Duration};

use bus_schema::{Event, Shard, Subject};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use ops::{
    log::{Log, Write},
    nats::{self, Bus},
    nats_users::{BusUser, server_config},
    provision::{self, Plan},
    service::{Context, Service},
    settings::{Settings, names},
    testing::{Database, NatsOptions, NatsServer, Postgres, Scratch, wait_for},
};
use persister::db::{Options, connect, migrations};
use tokio::task::JoinHandle;

pub const SHARD: Shard = Shard(0);
pub const SOON: Duration = Duration::from_secs(30);

pub struct World {
    pub nats: NatsServer,
    keys: Scratch,
    pub bus: Bus,
    pub log: Log,
    database: String,
    _database: Database<'static>,
}

/// A persister in this process.
pub struct Running {
    pub context: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn new() -> Self {
        let template = async |url: String| {
            migrations::run(&url).await.unwrap();
        };
        let database = Postgres::shared().await.database_from("persister_template", template).await;
        Self::on(database.url(), database).await
    }

    async fn on(url: String, database: Database<'static>) -> Self {
        let keys = Scratch::new("keys").unwrap();
        let [persister, anybody] = [Service::Persister, Service::Ops]
            .map(|service| BusUser::load_or_generate(service, &key(&keys, service)).unwrap());
        // And one without bounds, who writes what all the others would.
        let anybody = format!("users = [\n    {{ nkey: {} }}", anybody.public());
        let config = server_config(&[persister], &[SHARD]).replacen("users = [", &anybody, 1);
        let nats = NatsServer::with(NatsOptions { config, ..NatsOptions::default() }).await;
        let bus = connect_bus(&nats, &keys).await;
        provision(&bus).await;
        let log = Log::new(bus.clone(), SHARD);
        Self { nats, keys, bus, log, database: url, _database: database }
    }

    pub fn settings(&self) -> Settings {
        self.settings_with(&self.database)
    }

    pub fn settings_with(&self, database: &str) -> Settings {
        let pairs = [
            (names::NATS_URL, self.nats.url()),
            (names::NATS_CREDS_FILE, self.persister_key()),
            (names::DATABASE_URL, database.to_owned()),
            (names::DATABASE_POOL_MAX, "2".to_owned()),
        ];
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Settings::from_pairs(Service::Persister, &pairs).unwrap()
    }

    /// Who the persister is on the bus.
    pub fn persister_key(&self) -> String {
        key(&self.keys, Service::Persister).to_str().unwrap().to_owned()
    }

    /// Restarts the bus, and connects to it again.
    pub async fn restart_bus(&mut self) {
        self.nats.restart().await;
        self.bus = connect_bus(&self.nats, &self.keys).await;
        self.log = Log::new(self.bus.clone(), SHARD);
    }

    pub fn persister(&self) -> Running {
        Running::start(self.settings())
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub async fn sql(&self) -> AsyncPgConnection {
        connect(&self.database, &Options::new("test")).await.unwrap()
    }

    /// Stores an event as a service would, and gives its sequence.
    pub async fn store(&self, subject: Subject, event: &Event) -> u64 {
        self.store_raw(&subject.to_string(), event.encode()).await
    }

    pub async fn store_raw(&self, subject: &str, payload: Vec<u8>) -> u64 {
        self.log.publish(Write::new(subject, payload)).await.unwrap().seq
    }

    /// Waits until the read model has everything up to `seq`.
    pub async fn reaches(&self, seq: u64) {
        reaches(&mut self.sql().await, seq).await;
    }
}

impl Running {
    pub fn start(settings: Settings) -> Self {
        let context = Context::new(settings);
        let task = tokio::spawn(persister::run(context.clone()));
        Self { context, task }
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        self.context.tasks.close();
        self.context.tasks.wait().await;
    }

    pub async fn is_ready(&self) {
        wait_for(SOON, "ready", async || {
            // Before its first check is registered a process is not yet anything.
            if self.context.health.report().text().contains("[+] log") && self.context.health.is_ready() {
                Ok(())
            } else {
                Err(self.context.health.report().text())
            }
        })
        .await;
    }

    /// Waits until it is not ready for a reason that says `text`.
    pub async fn says(&self, text: &str) {
        wait_for(SOON, text, async || {
            let report = self.context.health.report().text();
            if report.contains(text) { Ok(()) } else { Err(report) }
        })
        .await;
    }
}

fn key(keys: &Scratch, service: Service) -> PathBuf {
    keys.path().join(format!("{service}.nk"))
}

async fn connect_bus(nats: &NatsServer, keys: &Scratch) -> Bus {
    let mut options = nats::Options::new(nats.url(), "test");
    options.credentials = Some(key(keys, Service::Ops));
    nats::connect_with(options).await.unwrap()
}

pub async fn provision(bus: &Bus) {
    let plan = Plan { shards: vec![SHARD], replicas: 1, log_bytes_max: 1 << 30, files_bytes_max: 256 << 20 };
    provision::apply(bus, &plan).await.unwrap();
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    row: String,
}

/// Waits until this database has everything up to `seq`.
pub async fn reaches(sql: &mut AsyncPgConnection, seq: u64) {
    wait_for(SOON, &format!("the watermark to reach {seq}"), async || {
        let at = rows(sql, "SELECT seq::text AS row FROM watermark").await;
        if at.iter().any(|at| at.parse::<u64>().unwrap() >= seq) { Ok(()) } else { Err(at) }
    })
    .await;
}

/// A query's lines: it selects one text called `row`.
pub async fn rows(sql: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Line> = diesel::sql_query(query).load(sql).await.unwrap();
    rows.into_iter().map(|line| line.row).collect()
}

/// One number; 0 for none.
pub async fn number(sql: &mut AsyncPgConnection, query: &str) -> i64 {
    rows(sql, &format!("SELECT coalesce(({query}), 0)::text AS row")).await[0].parse().unwrap()
}
