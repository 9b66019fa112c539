//! The shell around the core: one loop per shard that feeds it and does what it asks for.
//!
//! Invariant: the core hears of a write's outcome only when it is certain, and of everything in the order it came.

mod bench;
mod clock;
mod commands;
mod feed;
mod holder;
mod leases;
mod looker;
mod metrics;
mod replay;
mod shard;
mod signals;
mod unseen;
mod visitors;
mod writer;

use std::time::Duration;

use anyhow::Context as _;
use bus_schema::{IncarnationId, Shard};
use ops::{nats::Bus, provision, service::Context, settings::names};

pub use bench::bench;
pub use replay::{USAGE as REPLAY_USAGE, replay};

/// How routers of one shard agree on who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// The holder of the lease; others stand by.
    Lease,
    /// Everyone at once: as safe, but with work done twice.
    Together,
}

/// What a shard's loop needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    pub shard: Shard,
    pub turns: Turns,
    pub agent_grace: Duration,
    /// Threads of one tenant that are open before no more start; none: no bound.
    pub open_max: Option<usize>,
    /// Which process this is: one that starts again in its place need not wait for its own lease to end.
    pub place: String,
}

/// `router run`.
pub async fn run(context: Context) -> anyhow::Result<()> {
    let bus = ops::nats::connect(&context, "router").await?;
    let shards = provision::shards(&context.settings);
    provision::verify(&bus, &shards).await?;
    for shard in shards {
        let options = Options {
            shard,
            turns: match context.settings.text(names::ROUTER_TURNS) {
                "together" => Turns::Together,
                _ => Turns::Lease,
            },
            agent_grace: context.settings.millis(names::AGENT_GRACE_MS),
            open_max: open_max(&context),
            place: place(&context),
        };
        let (bus, inner) = (bus.clone(), context.clone());
        context.spawn("shard", async move {
            route(inner, bus, options).await.with_context(|| format!("shard {shard}"))
        });
    }
    context.shutdown.cancelled().await;
    Ok(())
}

/// Routes one shard until shutdown.
pub async fn route(context: Context, bus: Bus, options: Options) -> anyhow::Result<()> {
    metrics::describe();
    let incarnation = IncarnationId::from_uuid(ops_uuid());
    shard::Shard::start(context, bus, options, incarnation).await?.run().await
}

fn open_max(context: &Context) -> Option<usize> {
    let most = context.settings.limit(names::LIMIT_OPEN_CONVERSATIONS_PER_TENANT)?;
    Some(usize::try_from(most).unwrap_or(usize::MAX))
}

/// Host and operations listener: no two living processes share both.
fn place(context: &Context) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), context.settings.addr(names::OPS_LISTEN))
}

/// Random: an incarnation is never the same as another's.
fn ops_uuid() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}
