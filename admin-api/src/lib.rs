//! HTTP for staff and programs: accounts, configuration, conversations.
//!
//! Invariant: it writes schema `config` and nothing else in Postgres, never writes the life of a thread itself, and
//! serves configuration also while the bus is away.

#![forbid(unsafe_code)]

mod access;
mod action_templates;
mod admin;
mod agents;
mod api_tokens;
mod app;
mod audit_log;
mod auth;
mod bus;
mod canned_responses;
mod checklist;
mod clock;
mod conversations;
mod db;
mod groups;
mod health;
mod http;
mod mail;
mod metrics;
pub mod openapi;
mod read_model;
pub mod routes;
mod routing;
mod scope;
mod serve;
mod tags;
mod tenant;
mod things;
mod visitors;
mod widgets;

pub use access::Access;
pub use checklist::checklist;
pub use clock::Calendar;

use std::time::Duration;

use ops::{
    service::{Context, misconfigured},
    settings::{Problem, Source, names, table::PREFIX},
};
use persister::db::{Options, Pool, migrations, roles};

use crate::{
    app::App,
    auth::{Providers, Tokens},
    bus::Link,
};

/// How often what has ended is removed, and tenants' console origins are read anew.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Runs the service until it is told to stop.
pub async fn run(context: Context) -> anyhow::Result<()> {
    run_by(context, Calendar::default()).await
}

/// The same with a calendar in somebody's hands.
pub async fn run_by(context: Context, calendar: Calendar) -> anyhow::Result<()> {
    metrics::describe();
    let settings = &context.settings;
    let key_file = names::STAFF_KEY_FILE;
    let tokens = Tokens::load(settings.path(key_file), settings.profile())
        .map_err(|error| unusable(key_file, Some(settings.text(key_file).to_owned()), &error))?;
    let providers =
        Providers::from_settings(settings).map_err(|error| unusable(names::OIDC_PROVIDERS, None, &error))?;
    let pool = Pool::with_options(settings, &Options::new("admin-api").working_as(roles::SYSTEM))?;
    migrations::verify(&mut *pool.get().await?).await?;
    let listener = serve::listen(&context).await?;
    let link = Link::start(&context, tokens.clone());
    let app = App::new(settings, pool.clone(), tokens, link, providers, calendar);
    app.origins.refresh(&pool).await?;
    send_mails(&context, &app)?;
    context.spawn("watch Postgres", health::watch_postgres(context.clone(), pool));
    context.spawn("publish changes", bus::publisher(context.clone(), app.clone()));
    context.spawn("answer for history", bus::historian(context.clone(), app.clone()));
    context.spawn("erase visitors", visitors::eraser(context.clone(), app.clone()));
    context.spawn("forget visitors", visitors::forgetter(context.clone(), app.clone()));
    context.spawn("tidy up", tidy(context.clone(), app.clone()));
    serve::serve(&context, listener, &app).await
}

/// A setting that is well formed and cannot be used; `shown` unless it is secret.
fn unusable(name: &str, shown: Option<String>, error: &dyn std::fmt::Display) -> anyhow::Error {
    misconfigured(Problem {
        variable: format!("{PREFIX}{name}"),
        shown,
        source: Source::Environment,
        fix: error.to_string(),
    })
    .into()
}

/// Without a mail server invitations and resets wait until they are not worth sending.
fn send_mails(context: &Context, app: &App) -> anyhow::Result<()> {
    let settings = &context.settings;
    let transport = mail::Transport::from_settings(settings);
    let transport = transport.map_err(|bad| unusable(bad.name, None, &bad))?;
    let Some(transport) = transport else {
        tracing::warn!("there is no mail server: invitations and links for new passwords are not sent");
        return Ok(());
    };
    let console = settings.text(names::CONSOLE_URL).to_owned();
    context.spawn("send mails", mail::sender(context.clone(), app.clone(), transport, console));
    Ok(())
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
