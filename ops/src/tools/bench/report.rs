//! What a benchmark says: every figure with its machine, sync setting and durability class.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    echo::Echo,
    jetstream::Alone,
    machine::{Durability, Machine},
    manners::MannersTally,
    run::Run,
    spread::Median,
};

/// A run of the system and of the limits right after it.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    pub chat: Run,
    pub alone: Alone,
    pub echo: Echo,
}

#[derive(Debug, Clone, Serialize)]
pub struct Saturation {
    /// The highest rate within the bound.
    pub rate: Option<f64>,
    pub tries: Vec<Run>,
    /// What happens at twice that rate.
    pub twice: Option<Run>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ChatReport {
    pub machine: Machine,
    pub durability: Durability,
    pub pinned: bool,
    pub conversations: usize,
    pub edges: usize,
    /// Pairs with their sides on different edges.
    pub across: usize,
    pub bytes: usize,
    /// Each message comes after a typing and a read mark.
    pub receipts: bool,
    pub seed: u64,
    pub arrivals: String,
    pub limits_in_the_way: Vec<String>,
    pub saturation: Option<Saturation>,
    pub pairs: Vec<Pair>,
}

impl ChatReport {
    /// Nothing was lost, doubled or reordered.
    pub fn is_sound(&self) -> bool {
        let tries = self.saturation.iter().flat_map(|found| found.tries.iter().chain(&found.twice));
        let mut runs = tries.chain(self.pairs.iter().map(|pair| &pair.chat));
        runs.all(|run| run.tally.lost + run.tally.doubled + run.tally.reordered == 0)
    }

    fn median(&self, of: impl Fn(&Pair) -> f64) -> String {
        Median::of(self.pairs.iter().map(of)).map_or_else(|| "-".to_owned(), |median| median.text())
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: String| writeln!(text, "{what}").expect("writing to a String never fails");
        line(format!("machine     {}", self.machine.text()));
        line(format!("durability  {}", self.durability.text()));
        line(format!(
            "setting     {} conversations ({} with their sides on different edges), {} edges, {} B{}, {} arrivals, seed {}, {}",
            self.conversations,
            self.across,
            self.edges,
            self.bytes,
            if self.receipts { " with typing and receipts" } else { "" },
            self.arrivals,
            self.seed,
            if self.pinned { "servers on core 0, driver on core 1" } else { "no pinning" },
        ));
        if !self.limits_in_the_way.is_empty() {
            line(format!(
                "LIMITED by  {} (set them to 0 to measure the system)",
                self.limits_in_the_way.join(", ")
            ));
        }
        if let Some(found) = &self.saturation {
            saturation_lines(found, &mut line);
        }
        for (at, pair) in self.pairs.iter().enumerate() {
            run_lines(&format!("run {}", at + 1), &pair.chat, &mut line);
        }
        line(format!(
            "\nmedian of {} interleaved pairs (min..max), durability {}",
            self.pairs.len(),
            self.durability.class
        ));
        let rows: [(&str, String); 13] = [
            ("delivered per second", self.median(|pair| pair.chat.delivered_rate)),
            ("latency p50 ms", self.median(|pair| pair.chat.tally.latency.p50_us as f64 / 1e3)),
            ("latency p99 ms", self.median(|pair| pair.chat.tally.latency.p99_us as f64 / 1e3)),
            ("latency p99.9 ms", self.median(|pair| pair.chat.tally.latency.p999_us as f64 / 1e3)),
            ("CPU µs per event, system", self.median(|pair| pair.chat.cpu_us_per_event_all)),
            ("JetStream alone: per second", self.median(|pair| pair.alone.rate)),
            ("JetStream alone: one PubAck p50 ms", self.median(|pair| pair.alone.single.p50_us as f64 / 1e3)),
            ("JetStream alone: CPU µs per message", self.median(|pair| pair.alone.cpu_us_per_message)),
            ("bare echo: per second", self.median(|pair| pair.echo.rate)),
            ("bare echo: one p50 ms", self.median(|pair| pair.echo.single.p50_us as f64 / 1e3)),
            ("bare echo: CPU µs per message", self.median(|pair| pair.echo.cpu_us_per_message)),
            (
                "ratio delivered / JetStream alone",
                self.median(|pair| pair.chat.delivered_rate / pair.alone.rate),
            ),
            (
                "ratio latency p50 / one PubAck p50",
                self.median(|pair| {
                    pair.chat.tally.latency.p50_us as f64 / pair.alone.single.p50_us.max(1) as f64
                }),
            ),
        ];
        for (name, value) in rows {
            line(format!("  {name:<38} {value}"));
        }
        if let Some(pair) = self.pairs.first() {
            line(format!(
                "  (JetStream alone: {} B, window {}; echo: {} connections, {} B)",
                pair.alone.payload_bytes, pair.alone.window, pair.echo.connections, pair.echo.bytes
            ));
        }
        let names = self.pairs.first().map(|pair| pair.chat.cpu_us_per_event.keys()).into_iter().flatten();
        for name in names {
            let value = self.median(|pair| pair.chat.cpu_us_per_event.get(name).copied().unwrap_or(f64::NAN));
            line(format!("  {:<38} {value}", format!("CPU µs per event, {name}")));
        }
        if !self.is_sound() {
            line("\nUNSOUND: events were lost, doubled or reordered (see above)".to_owned());
        }
        text
    }
}

fn saturation_lines(found: &Saturation, line: &mut impl FnMut(String)) {
    line(match found.rate {
        Some(rate) => format!("\nhighest rate within p99 ≤ 100 ms and 99 % counted: {rate:.0}/s"),
        None => "\nno rate was within p99 ≤ 100 ms and 99 % counted".to_owned(),
    });
    for run in &found.tries {
        line(format!(
            "  {:>8.0}/s  counted {:6.2} %  {}{}",
            run.rate,
            run.goodput * 100.0,
            run.tally.latency.text(),
            if run.invalid.is_some() { "  INVALID (driver late)" } else { "" }
        ));
    }
    if let Some(twice) = &found.twice {
        run_lines("at twice that rate", twice, line);
    }
}

fn run_lines(name: &str, run: &Run, line: &mut impl FnMut(String)) {
    let tally = &run.tally;
    line(format!("\n{name}: {:.0}/s for {:.0} s", run.rate, run.seconds));
    if let Some(why) = &run.invalid {
        line(format!("  INVALID    {why}"));
    }
    let database = tally.stored_in_database.map_or_else(|| "not asked".to_owned(), |count| count.to_string());
    line(format!(
        "  events     due {}  sent {}  acked {}  delivered {}  stored {} (Postgres {database})  counted {} ({:.2} %)",
        tally.due,
        tally.sent,
        tally.acked,
        tally.delivered,
        tally.stored_in_log,
        tally.counted,
        run.goodput * 100.0
    ));
    line(format!(
        "  faults     lost {}  doubled {}  reordered {}  disconnects {}",
        tally.lost, tally.doubled, tally.reordered, run.disconnects
    ));
    if !tally.refused.is_empty() {
        let refused: Vec<_> = tally.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        line(format!("  refused    {}", refused.join("  ")));
    }
    if let Some(MannersTally { answered, refused, left_out }) = run.manners {
        line(format!("  typing, marks  answered {answered}  refused {refused}  left out {left_out}"));
    }
    line(format!("  latency    {}", tally.latency.text()));
    line(format!("  ack        {}", tally.ack.text()));
    line(format!("  driver lag {}", tally.lag.text()));
    let cpu: Vec<_> = run.cpu_us_per_event.iter().map(|(name, us)| format!("{name} {us:.1}")).collect();
    line(format!(
        "  CPU µs per event  {}  = {:.1} without the driver",
        cpu.join("  "),
        run.cpu_us_per_event_all
    ));
    let behind =
        run.database_behind_ms.map(|ms| format!(", Postgres had all {ms} ms later")).unwrap_or_default();
    line(format!(
        "  noise      steal {:.1} %, busy {:.0} %, fsync p50 {} µs max {} µs; {} B stored each{behind}",
        run.noise.steal * 100.0,
        run.noise.busy * 100.0,
        run.noise.fsync_p50_us,
        run.noise.fsync_max_us,
        run.stored_bytes
    ));
}
