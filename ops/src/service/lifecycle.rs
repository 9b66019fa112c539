//! The life of a service process: start, run, drain, end.
//!
//! Invariant: after the first signal readiness is false before anything else stops; the process ends within
//! its grace time, or at once on a second signal.

use std::{future::Future, time::Duration};

use futures::FutureExt as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    context::Failures,
    exit::{self, Unavailable},
    listener,
};
use crate::{
    metrics,
    settings::{Settings, names},
};

/// Runs a service to its end and gives the exit code.
pub(super) async fn run<F, Fut>(settings: Settings, run: F) -> u8
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let (context, failures) = Context::with_failures(settings);
    let stop_listener = CancellationToken::new();
    if let Err(error) = operations(&context, &stop_listener).await {
        return failed(&error);
    }
    tracing::info!(service = context.service().name(), version = env!("CARGO_PKG_VERSION"), "starting");
    let code = live(&context, failures, run(context.clone())).await;
    stop_listener.cancel();
    tracing::info!(exit.code = code, "ended");
    code
}

/// Runs a one-shot command: no listener, and a signal cancels it.
pub(super) async fn once<Fut>(context: Context, failures: Failures, work: Fut) -> u8
where
    Fut: Future<Output = anyhow::Result<()>>,
{
    live(&context, failures, work).await
}

async fn operations(context: &Context, stop: &CancellationToken) -> anyhow::Result<()> {
    let addr = context.settings.addr(names::OPS_LISTEN);
    let metrics = metrics::install(context.service())?;
    let listener = listener::bind(addr).await.map_err(|error| {
        Unavailable::new(
            format!("cannot listen on {addr}: {error}"),
            format!("free the port, or set CHATBUS_{} or CHATBUS_{}", names::OPS_LISTEN, names::INSTANCE),
        )
    })?;
    tracing::info!(addr = %listener.local_addr()?, "operations listener is up");
    tokio::spawn(metrics.clone().upkeep(stop.clone()));
    tokio::spawn(listener::serve(listener, context.health.clone(), metrics, stop.clone()));
    Ok(())
}

async fn live<Fut>(context: &Context, mut failures: Failures, service: Fut) -> u8
where
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed(&anyhow::Error::new(error).context("install signal handlers")),
    };
    let mut service = std::pin::pin!(std::panic::AssertUnwindSafe(service).catch_unwind());
    let mut outcome: Option<anyhow::Result<()>> = None;
    let stopping = tokio::select! {
        done = &mut service => {
            outcome = Some(done.unwrap_or_else(|_| Err(anyhow::anyhow!("the service panicked"))));
            None
        }
        Some(error) = failures.recv() => {
            outcome = Some(Err(error));
            Some(true)
        }
        name = signals.next() => {
            tracing::info!(signal = name, "shutting down");
            Some(true)
        }
    };
    context.health.begin_draining();
    context.shutdown.cancel();
    context.tasks.close();
    let grace = context.settings.millis(names::GRACE_MS);
    let drained = async {
        if stopping.is_some() {
            let done = service.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the service panicked")));
            if outcome.is_none() || done.is_err() && matches!(outcome, Some(Ok(()))) {
                outcome = Some(done);
            }
        }
        context.tasks.wait().await;
    };
    let in_time = tokio::select! {
        drained = timeout(grace, drained) => drained.is_ok(),
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: ending at once");
            return exit::UNFINISHED;
        }
    };
    if let Ok(error) = failures.try_recv()
        && !matches!(outcome, Some(Err(_)))
    {
        outcome = Some(Err(error));
    }
    match (outcome, in_time) {
        (Some(Err(error)), _) => failed(&error),
        (_, false) => late(grace),
        (Some(Ok(())) | None, true) => exit::CLEAN,
    }
}

fn failed(error: &anyhow::Error) -> u8 {
    let code = exit::code_of(error);
    tracing::error!(exit.code = code, "{error:#}");
    code
}

fn late(grace: Duration) -> u8 {
    tracing::warn!(grace_ms = grace.as_millis(), "the grace time is over and work is left: ending anyway");
    exit::UNFINISHED
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
