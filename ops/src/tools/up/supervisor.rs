//! Keeps processes running until it is told to stop.
//!
//! A process that ends is started again, after a pause that doubles while it keeps ending at once; the pids that others
//! read are those that run now. Told to stop, it stops each in order and waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::env_file::EnvFile;
use crate::dev::guard::{Guarded, Signal, Spec};
use crate::dev::nats::NatsSpec;
use crate::dev::postgres::PostgresSpec;
use crate::tools::out;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that ran this long did not end at once.
const SETTLED: Duration = Duration::from_secs(20);
/// Beyond the services' own grace time.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What is kept running.
#[derive(Debug)]
pub enum Kind {
    Service { program: PathBuf, env: Vec<(String, String)> },
    Nats(Box<NatsSpec>),
    Postgres(PostgresSpec),
}

/// One process and its place among the others.
#[derive(Debug)]
pub struct Kept {
    pub name: String,
    pub kind: Kind,
    pub log: PathBuf,
    pub slot: usize,
}

/// How a process that is kept is doing, for a start that waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub starts: u32,
    pub last_exit: Option<i32>,
}

impl Kept {
    /// Runs until `stop`; the first start has been made by then or has failed, as the report says.
    pub async fn keep(
        mut self,
        env_file: Arc<EnvFile>,
        report: watch::Sender<Report>,
        stop: CancellationToken,
    ) {
        let mut pause = PAUSE_MIN;
        while !stop.is_cancelled() {
            let started = Instant::now();
            match self.start().await {
                Ok(mut process) => {
                    report.send_modify(|report| report.starts += 1);
                    if let Err(error) = env_file.set_pid(self.slot, process.pid()) {
                        out::note(&format!("cannot write up.env: {error}"));
                    }
                    tokio::select! {
                        code = process.ended() => self.ended(code.unwrap_or(-1), &report),
                        () = stop.cancelled() => return self.stop(process).await,
                    }
                }
                Err(error) => {
                    out::note(&format!("{} does not start: {error:#}", self.name));
                    report.send_modify(|report| report.last_exit = Some(-1));
                }
            }
            // Who was asked to leave and did is not failing.
            if started.elapsed() >= SETTLED || report.borrow().last_exit == Some(0) {
                pause = PAUSE_MIN;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn start(&mut self) -> anyhow::Result<Guarded> {
        match &mut self.kind {
            Kind::Service { program, env } => {
                let spec = Spec::new(program.clone()).arg("run").env(env.iter().cloned());
                Ok(Guarded::spawn(&spec.ending(Signal::TERM, STOP_WITHIN), &self.log)?)
            }
            Kind::Nats(spec) => super::servers::start_nats(spec).await,
            Kind::Postgres(spec) => Ok(spec.start().await?),
        }
    }

    fn ended(&self, code: i32, report: &watch::Sender<Report>) {
        out::note(&format!(
            "{} ended with {code}, starting it again (log: {})",
            self.name,
            self.log.display()
        ));
        report.send_modify(|report| report.last_exit = Some(code));
    }

    async fn stop(&self, process: Guarded) {
        match process.stop().await {
            Ok(Some(_)) => {}
            Ok(None) => out::note(&format!("{} did not end", self.name)),
            Err(error) => out::note(&format!("{} cannot be stopped: {error}", self.name)),
        }
    }
}
