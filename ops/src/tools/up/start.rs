//! Bringing the system up, in the order in which its parts need each other.
//!
//! Servers, keys, streams, schema, services, demo data; the first that fails ends the start with its log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::env_file::{EnvFile, Values};
use super::layout::Layout;
use super::plan::{Instance, Plan, Shape, Wiring};
use super::supervisor::{Kept, Kind, Report};
use super::{Args, PortsArg, banner, keys, room, secrets, seed, servers};
use crate::dev::guard::{Guarded, Signal, Spec};
use crate::dev::nats::tail;
use crate::dev::{ports, probe};
use crate::nats::{Options, connect_with};
use crate::provision;
use crate::service::{BAD_CONFIGURATION, Service, Unavailable};
use crate::settings::{self, Settings, names};
use crate::tools::{out, program::program};

const SERVERS_WITHIN: Duration = Duration::from_secs(60);
const MIGRATED_WITHIN: Duration = Duration::from_secs(120);
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// A service that has been started so often without becoming ready will not.
const STARTS_MAX: u32 = 4;

/// Everything that runs, or will.
#[derive(Debug)]
pub struct System {
    layout: Layout,
    env_file: Option<Arc<EnvFile>>,
    values: Values,
    services: Stage,
    servers: Stage,
}

/// Processes that are stopped together.
#[derive(Debug, Default)]
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl System {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            env_file: None,
            values: Values::new(),
            services: Stage::default(),
            servers: Stage::default(),
        }
    }

    pub async fn start(&mut self, args: &Args) -> anyhow::Result<()> {
        let external = External::from_env();
        let plan = plan(args, &external)?;
        let own = settings::load(Service::Ops, &settings::process_environment())?.settings;
        let shards = provision::shards(&own);
        let users = keys::prepare(&self.layout.keys(), &shards)?;
        let env_file = Arc::new(EnvFile::new(self.layout.env_file(), slots(&plan, &external)));
        self.env_file = Some(Arc::clone(&env_file));

        self.start_nats(args, &plan, &external, &users).await?;
        let database_url = self.start_postgres(&plan, &external).await?;
        let wiring = wiring(args, &plan, &external, &self.layout, database_url);
        self.provision(&wiring, &own).await?;
        self.migrate(&wiring).await?;
        self.start_services(&plan, &wiring).await?;
        let demo = seed::Demo::keep(&self.layout.keys())?;
        let seeded = seed::run(&plan, &demo).await.context("seeding the demo data failed")?;
        self.values = banner::values(&plan, &wiring, &demo, &seeded);
        env_file.publish(self.values.clone()).context("cannot write up.env")
    }

    async fn provision(&self, wiring: &Wiring, own: &Settings) -> anyhow::Result<()> {
        let shared = wiring.shared(Service::Ops);
        let pairs: Vec<_> = shared.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let settings = Settings::from_pairs(Service::Ops, &pairs)?;
        let bus = connect_with(Options::from_settings(&settings, "ops")).await?;
        let mut plan = provision::Plan::from_settings(&settings);
        plan.log_bytes_max = own.int(names::STREAM_BYTES_MAX);
        plan.files_bytes_max = own.int(names::FILES_BYTES_MAX);
        if wiring.own_nats {
            let dir = self.layout.dir();
            plan.log_bytes_max =
                room::log_bytes(&bus, &plan.shards, dir, plan.replicas, plan.log_bytes_max).await;
            // The server reserves this as well.
            plan.files_bytes_max = plan.files_bytes_max.min(plan.log_bytes_max);
        }
        provision::apply(&bus, &plan).await?;
        Ok(())
    }

    /// Says that everything is ready.
    pub fn announce(&self, json: bool) -> anyhow::Result<()> {
        out::say(&banner::text(&self.values, &self.layout, json)?);
        Ok(())
    }

    /// Stops the services, then what they need.
    pub async fn stop(&self) {
        if let Some(env_file) = &self.env_file {
            env_file.remove();
        }
        self.services.stop().await;
        self.servers.stop().await;
    }

    async fn start_nats(
        &self,
        args: &Args,
        plan: &Plan,
        external: &External,
        users: &str,
    ) -> anyhow::Result<()> {
        if external.nats.is_some() {
            return Ok(());
        }
        let (planned, layout, users) = (plan.clone(), self.layout.clone(), users.to_owned());
        let sync = args.sync.into();
        let specs = tokio::task::spawn_blocking(move || servers::nats_specs(&planned, &layout, sync, &users));
        for (index, spec) in specs.await??.into_iter().enumerate() {
            std::fs::create_dir_all(&spec.dir)?;
            let (name, log) = (format!("nats-server-{index}"), spec.log());
            self.keep(
                &self.servers,
                Kept { name, kind: Kind::Nats(Box::new(spec)), log, slot: plan.instances.len() + index },
            )
            .first_start(SERVERS_WITHIN)
            .await?;
        }
        servers::wait_for_nats(plan).await
    }

    async fn start_postgres(&self, plan: &Plan, external: &External) -> anyhow::Result<String> {
        if let Some(url) = &external.database {
            return Ok(url.clone());
        }
        let password = secrets::keep(&self.layout.keys(), "database")?;
        let spec = servers::postgres_spec(plan.postgres, &self.layout, password).await?;
        let slot = plan.instances.len() + plan.nats.len();
        let (kind, log) = (Kind::Postgres(spec.clone()), spec.log());
        self.keep(&self.servers, Kept { name: "postgres".to_owned(), kind, log, slot })
            .first_start(SERVERS_WITHIN)
            .await?;
        servers::make_database(&spec).await?;
        Ok(spec.url(servers::DATABASE))
    }

    async fn migrate(&self, wiring: &Wiring) -> anyhow::Result<()> {
        let log = self.layout.log("migrate");
        let settings = wiring.shared(Service::Persister).into_iter();
        let env = settings.map(|(name, value)| (format!("CHATBUS_{name}"), value));
        let spec = Spec::new(program("persister")?).arg("migrate").env(env);
        let mut process = Guarded::spawn(&spec.ending(Signal::TERM, Duration::from_secs(5)), &log)?;
        match process.wait(MIGRATED_WITHIN).await? {
            Some(0) => Ok(()),
            Some(code) => {
                bail!("persister migrate ended with {code}; {} says:\n{}", log.display(), tail(&log))
            }
            None => bail!("persister migrate took longer than {MIGRATED_WITHIN:?} (log: {})", log.display()),
        }
    }

    async fn start_services(&self, plan: &Plan, wiring: &Wiring) -> anyhow::Result<()> {
        let mut started = Vec::new();
        for (slot, instance) in plan.instances.iter().enumerate() {
            let (name, log) = (instance.name(), self.layout.log(&instance.name()));
            let mut env = plan.settings(instance, wiring);
            if std::env::var_os("CHATBUS_LOG_FORMAT").is_none() {
                env.push((format!("CHATBUS_{}", names::LOG_FORMAT), "human".to_owned()));
            }
            env.extend(one_machine(instance.service));
            let kind = Kind::Service { program: program(instance.service.name())?, env };
            let running = self.keep(&self.services, Kept { name, kind, log, slot });
            started.push((instance, running));
        }
        for (instance, running) in started {
            timeout(READY_WITHIN, running.ready(instance)).await.unwrap_or_else(|_| {
                bail!("{} is not ready after {READY_WITHIN:?}:\n{}", running.name, tail(&running.log))
            })?;
            out::note(&format!("{} is ready", running.name));
        }
        Ok(())
    }

    fn keep(&self, stage: &Stage, kept: Kept) -> Running {
        let (sender, report) = watch::channel(Report::default());
        let running = Running { name: kept.name.clone(), log: kept.log.clone(), report };
        let env_file = self.env_file.clone().expect("it is made before anything runs");
        stage.tasks.spawn(kept.keep(env_file, sender, stage.stop.clone()));
        running
    }
}

impl Stage {
    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A process that is kept, as the start sees it.
struct Running {
    name: String,
    log: PathBuf,
    report: watch::Receiver<Report>,
}

impl Running {
    /// Waits until it has been started; servers are well by then.
    async fn first_start(mut self, within: Duration) -> anyhow::Result<()> {
        let answered = timeout(within, self.report.wait_for(|report| *report != Report::default())).await;
        match answered {
            Ok(Ok(report)) if report.starts > 0 => Ok(()),
            _ => bail!("{} does not start; {} says:\n{}", self.name, self.log.display(), tail(&self.log)),
        }
    }

    /// Waits until its `/readyz` says so.
    async fn ready(&self, instance: &Instance) -> anyhow::Result<()> {
        loop {
            let report = *self.report.borrow();
            let hopeless =
                report.last_exit == Some(i32::from(BAD_CONFIGURATION)) || report.starts >= STARTS_MAX;
            if hopeless && report.last_exit.is_some() {
                let code = report.last_exit.unwrap_or_default();
                bail!("{} ended with {code}; {} says:\n{}", self.name, self.log.display(), tail(&self.log));
            }
            let answer = probe::get(ports::loopback(instance.operations), "/readyz").await;
            if answer.is_ok_and(|answer| answer.is_ok()) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Servers that are somebody else's.
struct External {
    nats: Option<String>,
    database: Option<String>,
}

impl External {
    fn from_env() -> Self {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { nats: var("CHATBUS_NATS_URL"), database: var("CHATBUS_DATABASE_URL") }
    }
}

fn plan(args: &Args, external: &External) -> anyhow::Result<Plan> {
    let replicas: usize = args.nats_replicas.parse()?;
    let nats = if external.nats.is_some() { 0 } else { replicas };
    let shape = Shape { edges: args.edges, routers: args.routers, persisters: args.persisters, nats };
    if args.ports == PortsArg::Auto {
        return Ok(Plan::automatic(shape, &ports::free_many(Plan::ports_needed(shape))?));
    }
    let plan = Plan::fixed(shape);
    let mut needed = plan.ports();
    if external.database.is_none() {
        needed.push(plan.postgres);
    }
    let taken: Vec<_> =
        needed.into_iter().filter(|port| !ports::is_free(*port)).map(|port| port.to_string()).collect();
    if !taken.is_empty() {
        let what = format!("something else listens on port {}", taken.join(", "));
        return Err(Unavailable::new(what, "stop it, or take free ports with --ports auto").into());
    }
    Ok(plan)
}

/// What fills `CHATBUS_PIDS`, in its order.
fn slots(plan: &Plan, external: &External) -> Vec<String> {
    let services = plan.instances.iter().map(|instance| instance.service.name().to_owned());
    let nats = plan.nats.iter().map(|_| "nats-server".to_owned());
    let postgres = external.database.is_none().then(|| "postgres".to_owned());
    services.chain(nats).chain(postgres).collect()
}

fn wiring(args: &Args, plan: &Plan, external: &External, layout: &Layout, database_url: String) -> Wiring {
    let own = || {
        let urls = plan.nats.iter().map(|nats| format!("nats://{}", ports::loopback(nats.client)));
        urls.collect::<Vec<_>>().join(",")
    };
    Wiring {
        nats_url: external.nats.clone().unwrap_or_else(own),
        nats_monitor_url: plan.nats.first().map(|nats| super::plan::http(nats.monitor)),
        nats_replicas: args.nats_replicas.parse().unwrap_or(1),
        database_url,
        keys: layout.keys(),
        cache: layout.cache(),
        own_nats: external.nats.is_none(),
    }
}

/// Limits that make no sense where every client has the address of this machine, and load tools speak for one tenant.
/// What the environment says of them counts.
fn one_machine(service: Service) -> Vec<(String, String)> {
    const OFF: [&str; 8] = [
        names::LIMIT_CONNECTIONS_PER_ADDRESS,
        names::LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS,
        names::LIMIT_SESSIONS_PER_MINUTE_PER_WIDGET,
        names::LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS,
        names::LIMIT_WAITING_LOGINS_PER_ADDRESS,
        names::LIMIT_EVENTS_PER_SECOND_PER_TENANT,
        names::LIMIT_BYTES_PER_SECOND_PER_TENANT,
        names::LIMIT_STARTS_PER_SECOND_PER_TENANT,
    ];
    let names = OFF.iter().map(|name| format!("CHATBUS_{name}")).filter(|_| service == Service::Edge);
    names.filter(|name| std::env::var_os(name).is_none()).map(|name| (name, "0".to_owned())).collect()
}
