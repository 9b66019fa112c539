//! HTTP for staff and programs: accounts, configuration, conversations.
//!
//! Invariant: it writes schema `config` and nothing else in Postgres, never writes the life of a thread itself, and
//! serves configuration also while the bus is away.

#![forbid(unsafe_code)]

mod access;
mod action_templates;
mod admin;
mod agents;
mod app;
mod auth;
mod bus;
mod canned_responses;
mod clock;
mod conversations;
mod db;
mod groups;
mod health;
mod http;
mod metrics;
pub mod openapi;
mod read_model;
pub mod routes;
mod routing;
mod serve;
mod tags;
mod tenant;
mod things;
mod visitors;
mod widgets;

pub use access::Access;

use std::time::Duration;

use ops::{
    service::{Context, misconfigured},
    settings::{Problem, Source, names, table::PREFIX},
};
use persister::db::{Options, Pool, migrations, roles};

use crate::{app::App, auth::Tokens, bus::Link};

/// How often what has ended is removed, and tenants' console origins are read anew.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Runs the service until it is told to stop.
pub async fn run(context: Context) -> anyhow::Result<()> {
    metrics::describe();
    let settings = &context.settings;
    let tokens = Tokens::load(settings.path(names::STAFF_KEY_FILE), settings.profile()).map_err(|error| {
        misconfigured(Problem {
            variable: format!("{PREFIX}{}", names::STAFF_KEY_FILE),
            shown: Some(settings.text(names::STAFF_KEY_FILE).to_owned()),
            source: Source::Environment,
            fix: error.to_string(),
        })
    })?;
    let pool = Pool::with_options(settings, &Options::new("admin-api").working_as(roles::SYSTEM))?;
    migrations::verify(&mut *pool.get().await?).await?;
    let listener = serve::listen(&context).await?;
    let link = Link::start(&context, tokens.clone());
    let app = App::new(settings, pool.clone(), tokens, link);
    app.origins.refresh(&pool).await?;
    context.spawn("watch Postgres", health::watch_postgres(context.clone(), pool));
    context.spawn("publish changes", bus::publisher(context.clone(), app.clone()));
    context.spawn("answer for history", bus::historian(context.clone(), app.clone()));
    context.spawn("erase visitors", visitors::eraser(context.clone(), app.clone()));
    context.spawn("tidy up", tidy(context.clone(), app.clone()));
    serve::serve(&context, listener, &app).await
}

async fn tidy(context: Context, app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(TIDY_EVERY);
    while context.shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        app.budgets.forget();
        if let Err(problem) = auth::forget_expired(&app.pool).await {
            tracing::warn!(%problem, "what has ended was not removed");
        }
        if let Err(error) = app.origins.refresh(&app.pool).await {
            tracing::warn!(%error, "the tenants' console origins were not read");
        }
    }
    Ok(())
}
