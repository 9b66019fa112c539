//! What a running service is given.
//!
//! Invariant: everything a service starts is either a future it awaits itself or a task tracked here, so that
//! a shutdown waits for all of it.

use std::future::Future;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Service;
use crate::{health::Health, settings::Settings};

/// Settings, shutdown, tasks and health of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    pub settings: Settings,
    /// Cancelled when a graceful stop begins.
    pub shutdown: CancellationToken,
    /// Tasks that a shutdown waits for.
    pub tasks: TaskTracker,
    pub health: Health,
    failed: mpsc::Sender<anyhow::Error>,
}

/// Tells the life cycle of the first task that failed.
pub(super) type Failures = mpsc::Receiver<anyhow::Error>;

impl Context {
    /// A context that nobody stops from outside, for tests and one-shot tools.
    pub fn new(settings: Settings) -> Self {
        Self::with_failures(settings).0
    }

    pub(super) fn with_failures(settings: Settings) -> (Self, Failures) {
        let (failed, failures) = mpsc::channel(1);
        let context = Self {
            settings,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            health: Health::default(),
            failed,
        };
        (context, failures)
    }

    pub fn service(&self) -> Service {
        self.settings.service()
    }

    /// Runs a task the service cannot live without: if it fails or panics, the process stops in order and
    /// exits with that error.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let failed = self.failed.clone();
        self.tasks.spawn(async move {
            let outcome = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            let error = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.context(name),
                Err(_) => anyhow::anyhow!("task {name} panicked"),
            };
            // Full means that another task failed first; that one is reported.
            let _ = failed.try_send(error);
        });
    }
}
