//! The whole system as a user runs it: `ops up`, its processes, and what they left in the log and in Postgres.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bus_schema::{
    Event, GroupId, Shard, Subject,
    config::{GroupRecord, Record},
    protocol::WidgetSession,
    stream,
};
use ops::{
    client::{Http, Options as ClientOptions, Visitor, new_visitor_key},
    invariants::Logged,
    log::{DeliverFrom, Log},
    nats::{Bus, Options},
    testing::{Process, Scratch, wait_for},
};

/// From nothing to ready, on a machine that builds beside it.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// A running system; everything ends with it.
pub struct World {
    up: Process,
    data: Scratch,
}

/// How to run it.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub edges: usize,
    pub routers: usize,
    pub nats_replicas: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { edges: 2, routers: 1, nats_replicas: 1 }
    }
}

impl World {
    pub async fn up(shape: Shape, env: &[(&str, &str)]) -> Self {
        let data = Scratch::new("system").unwrap();
        let mut world = Self { up: Self::spawn(&data, shape, env), data };
        world.ready().await;
        world
    }

    fn spawn(data: &Scratch, shape: Shape, env: &[(&str, &str)]) -> Process {
        let kept = ["PATH", "HOME", "CHATBUS_CACHE_DIR"].map(|name| (name, std::env::var(name).ok()));
        let kept = kept.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut builder = Process::builder("ops").arg("up").arg("--ports").arg("auto").envs(kept);
        for (flag, value) in [
            ("--data", data.path().display().to_string()),
            ("--edges", shape.edges.to_string()),
            ("--routers", shape.routers.to_string()),
            ("--nats-replicas", shape.nats_replicas.to_string()),
        ] {
            builder = builder.arg(flag).arg(value);
        }
        builder.envs(env.iter().copied()).spawn().unwrap()
    }

    async fn ready(&mut self) {
        let file = self.env_file();
        let up = &mut self.up;
        wait_for(UP_WITHIN, "ops up to write up.env", async || {
            assert_eq!(up.try_exit_code(), None, "ops up ended:\n{}", up.log());
            file.is_file().then_some(()).ok_or_else(|| up.log())
        })
        .await;
    }

    /// Starts `ops up` again on the same data.
    pub async fn restart_after_stop(&mut self, shape: Shape) {
        self.up = Self::spawn(&self.data, shape, &[]);
        self.ready().await;
    }

    /// Ends `ops up` as Ctrl-C does.
    pub async fn stop(&mut self) {
        self.up.signal(ops::dev::guard::Signal::INT);
        assert_eq!(self.up.exit_code(Duration::from_secs(60)).await, 0, "{}", self.up.log());
    }

    /// Ends it without a chance to clean up.
    pub fn kill(&mut self) {
        self.up.kill();
    }

    /// The process id of `ops up` itself.
    pub fn up_pid(&self) -> u32 {
        self.up.pid().expect("it runs until it is stopped")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    pub fn env_file(&self) -> PathBuf {
        self.data.path().join("up.env")
    }

    /// A file among the system's keys.
    pub fn key(&self, name: &str) -> PathBuf {
        self.data.path().join("keys").join(name)
    }

    /// What `up.env` says now.
    pub fn env(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.env_file()).unwrap();
        let unquoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), unquoted(value)));
        text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
    }

    pub fn var(&self, name: &str) -> String {
        self.env().remove(name).unwrap_or_else(|| panic!("up.env has no {name}"))
    }

    /// What a new visitor's widget asks for.
    pub fn session(&self) -> WidgetSession {
        WidgetSession {
            widget_key: self.var("CHATBUS_WIDGET_KEY"),
            visitor_key: new_visitor_key(),
            initial_message: Some("Hello!".to_owned()),
            ..WidgetSession::default()
        }
    }

    /// Somebody who says hello, and stays; their first edge is the one of this number.
    pub async fn visitor(&self, first: usize) -> Visitor {
        let http = Http::new().unwrap();
        let quiet = |options: &mut ClientOptions| options.pushes = 0;
        Visitor::open(&http, &self.edge_urls(), first, &self.session(), quiet).await.unwrap()
    }

    pub fn edge_urls(&self) -> Vec<String> {
        self.var("CHATBUS_EDGE_URLS").split(',').map(str::to_owned).collect()
    }

    /// Process ids by name, several of one name in order.
    pub fn pids(&self) -> BTreeMap<String, Vec<u32>> {
        let mut pids: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for part in self.var("CHATBUS_PIDS").split(',') {
            let (name, pid) = part.split_once(':').unwrap();
            pids.entry(name.to_owned()).or_default().push(pid.parse().unwrap());
        }
        pids
    }

    pub async fn bus(&self) -> Bus {
        let env = self.env();
        let mut options = Options::new(env["CHATBUS_NATS_URL"].clone(), "ops");
        options.credentials = env.get("CHATBUS_NATS_CREDS_FILE").map(PathBuf::from);
        options.wait = Duration::from_secs(30);
        ops::nats::connect_with(options).await.unwrap()
    }

    /// The whole log, as it is now.
    pub async fn log(&self) -> Vec<Logged> {
        let log = Log::new(self.bus().await, Shard(0));
        let end = log.end().await.unwrap().last;
        let mut tail = log.tail(vec![], DeliverFrom::Start).await.unwrap();
        let mut messages = Vec::new();
        while messages.last().is_none_or(|last: &Logged| last.seq < end) && end > 0 {
            let stored = tail.next().await.unwrap();
            let subject = Subject::parse(&stored.subject).unwrap();
            let event = Event::decode(&stored.payload).unwrap();
            messages.push(Logged { seq: stored.seq, at: stored.at, subject, event });
        }
        messages
    }

    /// Groups as the router knows them.
    pub async fn groups(&self) -> BTreeMap<GroupId, GroupRecord> {
        let bus = self.bus().await;
        let js = async_nats::jetstream::new(bus.client.clone());
        let store = js.get_key_value(stream::CONFIG.name).await.unwrap();
        let mut groups = BTreeMap::new();
        let mut keys = store.keys().await.unwrap();
        while let Some(key) = futures::StreamExt::next(&mut keys).await {
            let key = key.unwrap();
            let Some(value) = store.get(&key).await.unwrap() else { continue };
            if let Ok(Record::Group(group)) = Record::decode(&key, &value) {
                groups.insert(group.group_id, group);
            }
        }
        groups
    }

    pub async fn postgres(&self) -> tokio_postgres::Client {
        let url = self.var("CHATBUS_DATABASE_URL");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Waits until Postgres has all that the log has.
    pub async fn persisted(&self) {
        let log = Log::new(self.bus().await, Shard(0));
        wait_for(Duration::from_secs(60), "the persister to reach the end of the log", async || {
            let end = log.end().await.map_err(|e| e.to_string())?.last;
            let postgres = self.postgres().await;
            let row = postgres.query_one("SELECT max(seq) FROM chat.watermark", &[]).await;
            let at: i64 = row.map_err(|e| e.to_string())?.get(0);
            if at as u64 >= end { Ok(()) } else { Err(format!("at {at} of {end}")) }
        })
        .await;
    }

    /// Waits until every service says that it is ready.
    pub async fn all_ready(&self) {
        let http = reqwest::Client::new();
        let env = self.env();
        let names =
            ["EDGE", "ROUTER", "PERSISTER", "ADMIN_API"].map(|name| format!("CHATBUS_{name}_OPS_URLS"));
        let urls: Vec<String> = names
            .iter()
            .filter_map(|name| env.get(name).or_else(|| env.get(name.trim_end_matches('S'))))
            .flat_map(|urls| urls.split(',').map(str::to_owned))
            .collect();
        assert!(urls.len() >= 4, "operations URLs in up.env: {urls:?}");
        wait_for(Duration::from_secs(90), "all services to be ready", async || {
            for url in &urls {
                let answer =
                    http.get(format!("{url}/readyz?verbose")).send().await.map_err(|e| e.to_string())?;
                if !answer.status().is_success() {
                    return Err(format!("{url}: {}", answer.text().await.unwrap_or_default()));
                }
            }
            Ok(())
        })
        .await;
    }
}
