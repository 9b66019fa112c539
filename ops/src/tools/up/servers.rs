//! The nats-servers and the Postgres of an `ops up`, unless it uses somebody else's.
//!
//! Their data stays in the directory; the next start finds it again.

use std::time::Duration;

use anyhow::Context as _;

use super::layout::Layout;
use super::plan::{NatsPorts, Plan};
use crate::dev::guard::Guarded;
use crate::dev::nats::{Member, NatsSpec, Sync};
use crate::dev::postgres::PostgresSpec;
use crate::dev::servers::{self, Search};
use crate::dev::{explain, ports, probe};
use crate::service::Unavailable;

pub const DATABASE: &str = "chatbus";
const CLUSTER_FORMS_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
const RETRIES: usize = 50;

/// How to start one of the nats-servers, again and again.
pub fn nats_specs(plan: &Plan, layout: &Layout, sync: Sync, users: &str) -> anyhow::Result<Vec<NatsSpec>> {
    let found = servers::nats(&Search::from_env()).map_err(|error| missing(&error))?;
    super::out::note(&format!("nats-server {} from {}", found.version, found.origin));
    let routes: Vec<u16> = plan.nats.iter().map(|ports| ports.route).collect();
    let spec = |(index, ports): (usize, &NatsPorts)| NatsSpec {
        program: found.path.clone(),
        dir: layout.nats(index),
        name: format!("chatbus-{index}"),
        port: Some(ports.client),
        monitor_port: Some(ports.monitor),
        sync,
        member: (routes.len() > 1).then(|| Member {
            cluster: "chatbus".to_owned(),
            port: ports.route,
            routes: routes.clone(),
        }),
        extra: users.to_owned(),
        throwaway: false,
    };
    Ok(plan.nats.iter().enumerate().map(spec).collect())
}

/// Starts a server; a member of a cluster is not healthy before the others are there.
pub async fn start_nats(spec: &mut NatsSpec) -> anyhow::Result<Guarded> {
    let nats = if spec.member.is_some() { spec.launch().await? } else { spec.start().await? };
    Ok(nats.process)
}

/// Waits until every member of the cluster answers that it is well.
pub async fn wait_for_nats(plan: &Plan) -> anyhow::Result<()> {
    let all = async {
        for member in &plan.nats {
            let address = ports::loopback(member.monitor);
            while !probe::get(address, "/healthz").await.is_ok_and(|answer| answer.is_ok()) {
                tokio::time::sleep(POLL).await;
            }
        }
    };
    tokio::time::timeout(CLUSTER_FORMS_WITHIN, all)
        .await
        .context("the nats-servers formed no cluster in time")
}

/// Makes the cluster unless it is there; the password must be the one it was made with.
pub async fn postgres_spec(port: u16, layout: &Layout, password: String) -> anyhow::Result<PostgresSpec> {
    let dir = layout.postgres().to_path_buf();
    tokio::task::spawn_blocking(move || {
        let found = servers::postgres(&Search::from_env()).map_err(|error| missing(&error))?;
        super::out::note(&format!("Postgres {} from {}", found.version, found.origin));
        let spec =
            PostgresSpec { programs: found.path, dir, port, password: Some(password), throwaway: false };
        spec.init()?;
        Ok(spec)
    })
    .await?
}

/// Makes the database unless it is there.
pub async fn make_database(spec: &PostgresSpec) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        if spec.execute(DATABASE, "SELECT 1").await.is_ok() {
            return Ok(());
        }
        tries += 1;
        match spec.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await {
            Ok(()) => {}
            Err(error) if tries >= RETRIES => return Err(error.into()),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn missing(error: &servers::ServerError) -> anyhow::Error {
    let text = explain(error);
    let (what, fix) = text.split_once("\n  fix: ").unwrap_or((&text, "see ops doctor"));
    Unavailable::new(what, fix).into()
}
