//! A Postgres and an admin-api of the measurement's own, on the loopback address, gone at its end. There is no bus:
//! what reads needs none.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{super::own_postgres::OwnPostgres, routes::As};
use crate::{
    dev::{
        guard::{Guarded, Signal, Spec},
        ports,
    },
    settings::{names, table::PREFIX},
    testing::Scratch,
    tools::{http::Http, program::program as binary},
};

const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A token is used for no longer, and then for one route more.
const TOKEN_TIME: Duration = Duration::from_secs(5 * 60);
/// What a database of this size is given on a small machine; and fewer checkpoints while it is filled.
const TUNED: [&str; 4] = [
    "ALTER SYSTEM SET shared_buffers = '1GB'",
    "ALTER SYSTEM SET max_wal_size = '8GB'",
    "ALTER SYSTEM SET maintenance_work_mem = '512MB'",
    "ALTER SYSTEM SET checkpoint_timeout = '30min'",
];

pub struct World {
    pub postgres: OwnPostgres,
    pub url: String,
    // After the servers, so that it goes when they are gone.
    dir: Scratch,
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    password: String,
    pub token: String,
    pub agent: String,
    pub tenant: String,
    since: Instant,
}

/// One of each who asks.
#[derive(Debug)]
pub struct People {
    pub admin: Person,
    pub agent: Person,
    pub newcomer: Person,
}

impl People {
    pub fn who(&mut self, by: As) -> &mut Person {
        match by {
            As::Admin => &mut self.admin,
            As::Agent => &mut self.agent,
            As::Newcomer => &mut self.newcomer,
        }
    }
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let dir = Scratch::new("bench-api")?;
        let postgres = OwnPostgres::start(dir.path(), &TUNED).await?;
        let url = format!("http://{}", ports::loopback(ports::free()?));
        let world = Self { postgres, url, dir };
        let mut migrate = world.spawn("persister", "migrate")?;
        let ended = migrate.wait(MIGRATED_WITHIN).await?;
        ensure!(ended == Some(0), "persister migrate ended with {ended:?}:\n{}", world.said("persister"));
        Ok(world)
    }

    pub async fn admin_api(&self) -> anyhow::Result<Guarded> {
        let process = self.spawn("admin-api", "run")?;
        let http = Http::new(&self.url)?;
        // It is asked again while nothing listens.
        http.get("/healthz")
            .await?
            .ok("ask admin-api for its health")
            .with_context(|| self.said("admin-api"))?;
        Ok(process)
    }

    /// A tenant's first admin.
    pub async fn register(&self) -> anyhow::Result<Person> {
        let (email, password) = ("ann@example.com".to_owned(), uuid::Uuid::now_v7().to_string());
        let body = json!({ "tenant_name": "Bench", "name": "Ann", "email": email, "password": password });
        let made = Http::new(&self.url)?.post("/v1/auth/register", &body).await?.ok("register")?;
        Ok(Person {
            token: made.text_at("/access_token")?,
            agent: made.text_at("/agent/id")?,
            tenant: made.text_at("/tenant/id")?,
            email,
            password,
            since: Instant::now(),
        })
    }

    /// An agent of these groups, logged in.
    pub async fn agent(&self, admin: &Person, name: &str, groups: &[&str]) -> anyhow::Result<Person> {
        let (email, password) = (format!("{name}@example.com"), uuid::Uuid::now_v7().to_string());
        let body = json!({
            "email": email, "name": name, "role": "agent", "password": password, "group_ids": groups,
        });
        let agent = self.make(admin, "/v1/agents", &body).await?;
        let mut person = Person {
            email,
            password,
            token: String::new(),
            agent,
            tenant: admin.tenant.clone(),
            since: Instant::now(),
        };
        self.login(&mut person).await?;
        Ok(person)
    }

    /// A new token where the old one, which ends after ten minutes, has had its time; logins are bounded.
    pub async fn refresh(&self, person: &mut Person) -> anyhow::Result<()> {
        if person.since.elapsed() < TOKEN_TIME { Ok(()) } else { self.login(person).await }
    }

    async fn login(&self, person: &mut Person) -> anyhow::Result<()> {
        let body = json!({ "email": person.email, "password": person.password });
        let got = Http::new(&self.url)?.post("/v1/auth/login", &body).await?.ok("log in")?;
        person.token = got.text_at("/access_token")?;
        person.since = Instant::now();
        Ok(())
    }

    /// Makes a thing; its id.
    pub async fn make(&self, admin: &Person, path: &str, body: &Value) -> anyhow::Result<String> {
        let mut http = Http::new(&self.url)?;
        http.authorize(&admin.token);
        http.post(path, body).await?.ok(path)?.text_at("/id")
    }

    fn spawn(&self, program: &str, command: &str) -> anyhow::Result<Guarded> {
        let path = binary(program)?;
        let env = [
            (names::DATABASE_URL, self.postgres.url()),
            (names::NATS_URL, format!("nats://{}", ports::loopback(ports::free()?))),
            (names::OPS_LISTEN, ports::loopback(ports::free()?).to_string()),
            (names::LISTEN, self.url.trim_start_matches("http://").to_owned()),
            (names::STAFF_KEY_FILE, self.dir.path().join("staff.pem").display().to_string()),
            (names::REGISTRATION, "open".to_owned()),
            (names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, "0".to_owned()),
            (names::LOG, "warn".to_owned()),
        ];
        let env = env.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        let spec = Spec::new(&path).arg(command).env_only(env).ending(Signal::KILL, ENDS_WITHIN);
        Ok(Guarded::spawn(&spec, &self.log_of(program))?)
    }

    fn log_of(&self, program: &str) -> PathBuf {
        self.dir.path().join(format!("{program}.log"))
    }

    fn said(&self, program: &str) -> String {
        crate::dev::nats::tail(&self.log_of(program))
    }
}
