//! Connecting, with bounded waiting, to a server that is new enough.
//!
//! Invariant: gives up within the wait, and says what would mend it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Bus, FLOOR, Version, credentials,
    state::{METRICS, Watcher},
};
use crate::{
    metrics,
    service::{Context, Unavailable, misconfigured},
    settings::{Invalid, Problem, Settings, Source, names, table::PREFIX},
};

/// A server that says nothing for two of these is gone.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages a subscription may have waiting before the client drops; each drop raises the generation.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// Commands that may wait for the connection; publishers wait beyond it.
const COMMAND_CAPACITY: usize = 4_096;
/// Pauses between tries: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Servers, separated by commas.
    pub url: String,
    /// What the server sees as the connection's name; also names the inboxes: `_INBOX_<name>`.
    pub name: String,
    pub credentials: Option<PathBuf>,
    /// How long to try.
    pub wait: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("connect to the bus")]
    Unavailable(#[source] Unavailable),
    #[error("connect to the bus")]
    Misconfigured(#[source] Invalid),
}

impl Options {
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self { url: url.into(), name: name.into(), credentials: None, wait: CONNECT_TIMEOUT }
    }

    pub fn from_settings(settings: &Settings, name: &str) -> Self {
        Self {
            url: settings.text(names::NATS_URL).to_owned(),
            name: name.to_owned(),
            credentials: settings.opt_path(names::NATS_CREDS_FILE).map(Into::into),
            wait: settings.millis(names::NATS_WAIT_MS),
        }
    }
}

/// Connects a service, and keeps its check `bus` up to date.
pub async fn connect(context: &Context, name: &str) -> Result<Bus, ConnectError> {
    let check = context.health.check("bus");
    let bus = connect_with(Options::from_settings(&context.settings, name)).await?;
    check.ok();
    let (mut state, shutdown) = (bus.state.clone(), context.shutdown.clone());
    context.tasks.spawn(async move {
        while let Some(Ok(())) = shutdown.run_until_cancelled(state.changed()).await {
            if state.borrow_and_update().connected {
                check.ok();
            } else {
                check.fail("disconnected from NATS");
            }
        }
    });
    Ok(bus)
}

/// Connects, trying again until `options.wait` is over.
pub async fn connect_with(options: Options) -> Result<Bus, ConnectError> {
    metrics::describe(METRICS);
    let deadline = Instant::now() + options.wait;
    let mut pause = RETRY_FIRST;
    let mut tries = 0_u32;
    loop {
        tries += 1;
        let error = match attempt(&options).await? {
            Ok(bus) => return new_enough(bus, &options.url),
            Err(error) => error,
        };
        if Instant::now() + pause >= deadline {
            return Err(ConnectError::Unavailable(Unavailable::new(
                format!("no connection to NATS at {} after {tries} tries: {error}", options.url),
                format!(
                    "start nats-server there, or set {PREFIX}{} and {PREFIX}{}",
                    names::NATS_URL,
                    names::NATS_CREDS_FILE
                ),
            )));
        }
        if tries == 1 {
            tracing::warn!(url = options.url, error, "NATS does not answer yet, trying again");
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_LAST);
    }
}

/// One try; the outer error is one that trying again does not mend.
async fn attempt(options: &Options) -> Result<Result<Bus, String>, ConnectError> {
    let (watcher, state) = Watcher::new();
    let inbox = format!("_INBOX_{}", options.name);
    let mut connect = ConnectOptions::new()
        .name(format!("chatbus-{}", options.name))
        .custom_inbox_prefix(&inbox)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(COMMAND_CAPACITY)
        .reconnect_delay_callback(pause_before)
        .event_callback(move |event| {
            watcher.on(&event);
            std::future::ready(())
        });
    if let Some(path) = &options.credentials {
        connect = credentials::add(connect, path)
            .map_err(|fix| misconfigured_at(names::NATS_CREDS_FILE, path.display().to_string(), fix))?;
    }
    let servers =
        options.url.split(',').map(|url| url.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>();
    let servers = servers.map_err(|error| {
        misconfigured_at(names::NATS_URL, options.url.clone(), format!("must be NATS URLs: {error}"))
    })?;
    // The client bounds each server's handshake; this bounds the list.
    let connected = timeout(CONNECT_TIMEOUT * 2, connect.connect(servers)).await;
    Ok(match connected {
        Ok(Ok(client)) => {
            Ok(Bus { client, state, inbox: Arc::from(inbox), options: Arc::new(options.clone()) })
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    })
}

/// Grows to `RETRY_LAST` with half of it random, so that a restarted server is not met by all at once.
pub(crate) fn pause_before(tries: usize) -> Duration {
    if tries <= 1 {
        return Duration::ZERO;
    }
    let full = RETRY_FIRST.saturating_mul(1 << tries.min(10)).min(RETRY_LAST);
    full.mul_f64(rand::random_range(0.5..1.0))
}

fn new_enough(bus: Bus, url: &str) -> Result<Bus, ConnectError> {
    let unavailable = |what, fix: &str| Err(ConnectError::Unavailable(Unavailable::new(what, fix)));
    let server = bus.client.server_info();
    if Version::parse(&server.version).is_none_or(|version| version < FLOOR) {
        let what = format!("nats-server {} at {url} is too old: {FLOOR} or newer is needed", server.version);
        return unavailable(
            what,
            "upgrade it (https://docs.nats.io/running-a-nats-service/introduction/installation)",
        );
    }
    if !server.jetstream {
        return unavailable(
            format!("nats-server at {url} runs without JetStream"),
            "start it with -js and a store directory",
        );
    }
    tracing::info!(server.version, server.name = server.server_name, "connected to the bus");
    Ok(bus)
}

fn misconfigured_at(name: &str, shown: String, fix: String) -> ConnectError {
    ConnectError::Misconfigured(misconfigured(Problem {
        variable: format!("{PREFIX}{name}"),
        shown: Some(shown),
        source: Source::Environment,
        fix,
    }))
}
