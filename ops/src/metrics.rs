//! The Prometheus recorder: names from tables, buckets from here, text for the operations listener.
//!
//! Invariant: names are `chatbus_<service>_<noun>_<unit|total>`, labels come from closed sets, and every
//! histogram has buckets.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// Buckets of what should be quick, in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets of how long people wait and stay: metrics named `…_wait_seconds` and `…_lifetime_seconds`.
const LONG_SECONDS: &[f64] = &[0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];
/// Buckets of how many things came at once: metrics named `…_batch_messages` and the like.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
/// Buckets of sizes.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];
/// How often samples are folded into the histograms; else they pile up between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One line of a crate's table of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub doc: &'static str,
}

/// A counter of a table.
pub const fn counter(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, doc }
}

/// A gauge of a table.
pub const fn gauge(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, doc }
}

/// A histogram of a table.
pub const fn histogram(name: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, doc }
}

/// Says what the metrics of a table mean; each crate calls it once at start with its own.
pub fn describe(table: &[Metric]) {
    for metric in table {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.doc),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.doc),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.doc),
        }
    }
}

pub const BUILD_INFO: &str = "chatbus_build_info";

const KIT: &[Metric] = &[gauge(BUILD_INFO, "Always 1; its labels say what is running.")];

/// The process's metrics, ready to be rendered.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Installs the recorder, once per process; later calls give the same one.
pub fn install(service: Service) -> Result<Metrics, BuildError> {
    static INSTALLED: OnceLock<Metrics> = OnceLock::new();
    if let Some(installed) = INSTALLED.get() {
        return Ok(installed.clone());
    }
    let recorder = builder()?.build_recorder();
    let made = Metrics { handle: recorder.handle(), process: metrics_process::Collector::default() };
    let installed = INSTALLED.get_or_init(|| made);
    if metrics::set_global_recorder(recorder).is_ok() {
        installed.process.describe();
        describe(KIT);
        let revision = option_env!("CHATBUS_REVISION").unwrap_or("unknown");
        let labels =
            [("service", service.name()), ("version", env!("CARGO_PKG_VERSION")), ("revision", revision)];
        metrics::gauge!(BUILD_INFO, &labels).set(1.0);
    }
    Ok(installed.clone())
}

/// What this thread counts until the guard is dropped, apart from all others: for tests, which share a process.
#[cfg(feature = "testing")]
pub fn apart() -> Result<(PrometheusHandle, metrics::LocalRecorderGuard<'static>), BuildError> {
    let recorder = Box::leak(Box::new(builder()?.build_recorder()));
    Ok((recorder.handle(), metrics::set_default_local_recorder(recorder)))
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    PrometheusBuilder::new()
        .set_buckets(SECONDS)?
        .set_buckets_for_metric(suffix("_wait_seconds"), LONG_SECONDS)?
        .set_buckets_for_metric(suffix("_lifetime_seconds"), LONG_SECONDS)?
        .set_buckets_for_metric(suffix("_messages"), COUNTS)?
        .set_buckets_for_metric(suffix("_rows"), COUNTS)?
        .set_buckets_for_metric(suffix("_bytes"), BYTES)
}

impl Metrics {
    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Folds samples into histograms until `stop`.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}
