//! What stands beside every figure: the machine, its noise, and how durable an acknowledged message is.

use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{dev::probe, tools::target::Target};

/// Writes of the fsync probe, and their size.
const PROBES: usize = 100;
const PROBE_BYTES: usize = 512;
const PROBE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub build: &'static str,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            build: if cfg!(debug_assertions) { "debug (figures mean nothing)" } else { "release" },
        }
    }

    pub fn text(&self) -> String {
        format!(
            "{} × {}, {} GiB, Linux {}, driver built as {}",
            self.cores, self.cpu, self.memory_gib, self.kernel, self.build
        )
    }
}

/// How durable an acknowledged message is (`bench.md`).
#[derive(Debug, Clone, Serialize)]
pub struct Durability {
    /// `D1`, `D2`, or why it is not known.
    pub class: String,
    pub sync: String,
    pub nats: String,
}

impl Durability {
    pub async fn ask(target: &Target, nats: &str) -> Self {
        let unknown = |why: &str| Self { class: "unknown".into(), sync: why.into(), nats: nats.to_owned() };
        let Some(url) = target.opt("NATS_MONITOR_URL") else {
            return unknown("unknown: CHATBUS_NATS_MONITOR_URL is not set");
        };
        let address = url.trim_start_matches("http://").trim_end_matches('/').parse();
        let Ok(address) = address else { return unknown("unknown: the monitor's URL is no address") };
        let Ok(answer) = probe::get(address, "/varz").await else {
            return unknown("unknown: nats-server's monitor does not answer");
        };
        let varz: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let always = varz["jetstream"]["config"]["sync_always"].as_bool().unwrap_or(false);
        let interval = varz["jetstream"]["config"]["sync_interval"].as_u64().map(Duration::from_nanos);
        Self {
            class: if always { "D2" } else { "D1" }.to_owned(),
            sync: match (always, interval) {
                (true, _) => "sync_interval: always (on disk before the acknowledgement)".to_owned(),
                (false, Some(interval)) => {
                    format!("sync_interval: {interval:?} (acknowledged in the page cache)")
                }
                (false, None) => "sync_interval: default (acknowledged in the page cache)".to_owned(),
            },
            nats: nats.to_owned(),
        }
    }

    pub fn text(&self) -> String {
        format!("{}, {}, nats-server {}", self.class, self.sync, self.nats)
    }
}

/// Noise while a run was on.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Noise {
    /// Share of all cores' time that the host took away.
    pub steal: f64,
    /// Share of all cores' time that was not idle.
    pub busy: f64,
    pub fsync_p50_us: u64,
    pub fsync_max_us: u64,
}

/// Jiffies of all cores: stolen, idle, all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jiffies {
    steal: u64,
    idle: u64,
    all: u64,
}

impl Jiffies {
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let at = |at: usize| fields.get(at).copied().unwrap_or(0);
        Self { steal: at(7), idle: at(3) + at(4), all: fields.iter().take(8).sum() }
    }

    /// Steal and use since then.
    pub fn noise_since(self, before: Self) -> Noise {
        let all = (self.all - before.all).max(1) as f64;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / all;
        Noise {
            steal: share(self.steal, before.steal),
            busy: 1.0 - share(self.idle, before.idle),
            ..Noise::default()
        }
    }
}

/// How long a small write takes to reach the disk: middle and longest, in microseconds.
pub fn fsync_probe() -> std::io::Result<(u64, u64)> {
    let mut file = tempfile::tempfile_in(".").or_else(|_| tempfile::tempfile())?;
    let (mut times, start) = (Vec::with_capacity(PROBES), Instant::now());
    while times.len() < PROBES && start.elapsed() < PROBE_WITHIN {
        file.write_all(&[b'x'; PROBE_BYTES])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() - 1]))
}

/// Kernel memory of all TCP sockets, in bytes.
pub fn kernel_socket_bytes() -> u64 {
    const PAGE: u64 = 4_096;
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = text.lines().find(|line| line.starts_with("TCP:")).and_then(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
        words.nth(1)?.parse::<u64>().ok()
    });
    pages.unwrap_or(0) * PAGE
}
