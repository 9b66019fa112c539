//! The WebSocket front door: authenticate, deliver the log, resume, shed.
//!
//! Invariant: it holds only local connections and no truth: whatever it shows is in the log, and whatever it loses a
//! client reads again.

#![forbid(unsafe_code)]

mod admission;
mod agents;
mod app;
mod catch_up;
mod clock;
mod conn;
mod connections;
mod core;
mod cursor;
mod desk;
mod directory;
mod drain;
mod feed;
mod files;
#[cfg(test)]
mod fuzz;
mod http;
mod hub;
mod limits;
mod metrics;
mod session;
mod socket;
mod standing;
mod turned_away;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use bus_schema::{IncarnationId, stream};
use ops::{
    auth::{self, SigningKey},
    files::{self as file_store, Files},
    kv::Kv,
    log::Log,
    service::{Context, Unavailable},
    settings::names,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    agents::{Agents, Presence},
    app::App,
    connections::Connections,
    core::Core,
    cursor::CursorSeal,
    desk::floor::Floors,
    directory::{Directory, origin_of_url},
    files::Links,
    hub::Hub,
    metrics::Measures,
    standing::{Following, Revoked},
    turned_away::TurnedAway,
};

const CURSOR_PURPOSE: &str = "chatbus cursor v1";
const LINK_PURPOSE: &str = "chatbus link v1";

pub use http::routes;

/// Runs an edge until `ctx.shutdown`.
pub async fn run(ctx: Context) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let _stop_at_the_end = stop.clone().drop_guard();
    let (app, sessions) = Box::pin(build(&ctx, &stop)).await?;
    watch::start(&ctx, &app);
    desk::start(&ctx, &app, &stop).await.context("hear who asks for visitors")?;
    standing::start(&ctx, &app, sessions);
    Admission::start(&ctx, &app);
    files::start(&ctx, &app);
    serve(&ctx, app).await
}

/// Connects, reads what is needed, and starts everything but the listener.
async fn build(ctx: &Context, stop: &CancellationToken) -> anyhow::Result<(Arc<App>, Following)> {
    let settings = &ctx.settings;
    let signing = SigningKey::load(settings.path(names::VISITOR_KEY_FILE))
        .context("the key that signs visitors' tokens (CHATBUS_VISITOR_KEY_FILE)")?;
    let bus = ops::nats::connect(ctx, "edge").await?;
    let shards = ops::provision::shards(settings);
    ops::provision::verify(&bus, &shards).await?;
    let mut logs = BTreeMap::new();
    for shard in shards {
        let log = Log::new(bus.clone(), shard);
        let epoch = log.epoch().await.with_context(|| format!("the epoch of shard {shard}"))?;
        logs.insert(shard, (log, epoch));
    }
    let store = file_store::store(settings, &bus).context("the store of files")?;
    let core = Arc::new(Core {
        bus: bus.clone(),
        shards: logs,
        directory: Directory::default(),
        files: Files::open(&bus, store).await.context("open the files")?,
        links: Links::new(&signing.derive(LINK_PURPOSE), settings.text(names::PUBLIC_WS_URL)),
        seal: CursorSeal::new(&signing.derive(CURSOR_PURPOSE)),
        limits: limits::limits(settings),
        catch_ups: catch_up::CatchUps::new(settings.limit(names::LIMIT_LOGINS_AT_ONCE)),
        measures: Arc::new(Measures::new()),
        incarnation: IncarnationId::from_uuid(uuid::Uuid::now_v7()),
        floors: Floors::default(),
        turned_away: TurnedAway::default(),
    });
    auth::publish(&bus, auth::Audience::Visitor, &signing).await.context("publish the visitors' key")?;
    let keys = auth::follow(ctx, &bus, settings.opt_path(names::CACHE_DIR)).await?;
    directory::follow(ctx, &core).await?;
    let (revoked, sessions) = Revoked::read(&bus).await.context("read the ended sessions")?;
    let leases = Kv::open(&bus, stream::LEASES).await?;
    agents::keep_lease(ctx, leases, core.incarnation, stop.clone()).await?;
    let hub = Hub::start(&core, ctx, stop);
    let presence = Arc::new(Presence::new(bus, core.incarnation));
    let (reporting, ended) = (presence.clone(), stop.clone());
    ctx.spawn("report presence", async move {
        ended.run_until_cancelled(reporting.run()).await;
        Ok(())
    });
    let admission = Admission::new(settings, &core.measures);
    let app = Arc::new(App {
        agents: Agents::new(core.clone(), hub.clone(), presence),
        core,
        hub,
        keys,
        signing,
        ws_url: settings.text(names::PUBLIC_WS_URL).to_owned(),
        open_origins: open_origins(ctx),
        shutdown: ctx.shutdown.clone(),
        stop: stop.clone(),
        tasks: ctx.tasks.clone(),
        connections: Connections::default(),
        revoked,
        admission,
        health: ctx.health.clone(),
    });
    Ok((app, sessions))
}

fn open_origins(ctx: &Context) -> Vec<String> {
    let console = origin_of_url(ctx.settings.text(names::CONSOLE_URL));
    console.into_iter().chain(ctx.settings.list(names::CORS_ORIGINS).iter().cloned()).collect()
}

/// Listens until the shutdown, then sends the clients elsewhere.
async fn serve(ctx: &Context, app: Arc<App>) -> anyhow::Result<()> {
    let addr = ctx.settings.addr(names::LISTEN);
    let listener = http::listen(addr).map_err(|error| {
        Unavailable::new(
            format!("cannot listen on {addr}: {error}"),
            format!("free the port, or set CHATBUS_{}", names::LISTEN),
        )
    })?;
    tracing::info!(addr = %listener.local_addr()?, "public listener is up");
    let routes = http::router(app.clone(), http::web::router(&ctx.settings));
    let grace = ctx.settings.millis(names::GRACE_MS);
    let serving = http::serve(listener, routes, app.clone(), grace / 2);
    let leaving = async {
        ctx.shutdown.cancelled().await;
        drain::drain(&app, grace).await;
        // Agents whose leaving nobody hears of count as connected here until the lease has been gone for their grace time.
        if !app.agents.presence.all_settled(grace / 4).await {
            tracing::warn!("the router does not know of all agents who left");
        }
    };
    tokio::join!(serving, leaving);
    Ok(())
}
