//! What a drain printed: medians with their spread, and the steady part below.

use serde::Serialize;

use super::super::{
    machine::{Machine, Noise},
    spread::{Median, Quantiles},
};

/// One part of a measurement. CPU is in microseconds for each event or row.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Part {
    pub per_second: f64,
    pub persister_us: f64,
    pub postgres_us: f64,
    pub driver_us: f64,
    pub events_per_batch: f64,
    pub statements_per_event: f64,
    pub wal_bytes: f64,
}

#[derive(Debug, Serialize)]
pub struct Pair {
    pub drain: Part,
    pub copy: Part,
    pub copy_indexed: Part,
}

/// What was seen while Postgres had this many events and more.
#[derive(Debug, Serialize)]
pub struct Size {
    pub at: u64,
    pub pairs: Vec<Pair>,
}

#[derive(Debug, Serialize)]
pub struct Steady {
    pub rate: u32,
    pub cost: Part,
    /// From an event's acknowledgement by the bus until Postgres shows it.
    pub behind: Quantiles,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub noise: Noise,
    /// Of each window.
    pub events: u64,
    pub sizes: Vec<Size>,
    pub steady: Option<Steady>,
}

impl Part {
    /// CPU of persister, or of who copies, and of Postgres.
    fn cpu(&self) -> f64 {
        self.persister_us + self.postgres_us
    }
}

impl Pair {
    pub fn text(&self) -> String {
        format!(
            "drained {:.0}/s ({:.1} + {:.1} µs of CPU), copied {:.0}/s ({:.1} + {:.1} µs), ratio {:.2}",
            self.drain.per_second,
            self.drain.persister_us,
            self.drain.postgres_us,
            self.copy.per_second,
            self.copy.driver_us,
            self.copy.postgres_us,
            self.drain.per_second / self.copy.per_second
        )
    }
}

impl Size {
    fn text(&self, events: u64) -> String {
        let of = |of: &dyn Fn(&Pair) -> f64| {
            Median::of(self.pairs.iter().map(of)).map_or_else(|| "-".to_owned(), |median| median.text())
        };
        format!(
            "\n\n{events} events after {}, median of {} pairs (min..max)\n\
             drained                   {} per second\n\
             copied                    {} per second (primary key alone), {} (all indexes)\n\
             ratio                     {} (primary key alone), {} (all indexes)\n\
             CPU µs/event, drained     persister {}, Postgres {}\n\
             CPU µs/row, copied        driver {}, Postgres {} (primary key alone), {} (all indexes)\n\
             per batch, per event      {} events, {} statements, {} bytes of WAL",
            self.at,
            self.pairs.len(),
            of(&|pair| pair.drain.per_second),
            of(&|pair| pair.copy.per_second),
            of(&|pair| pair.copy_indexed.per_second),
            of(&|pair| pair.drain.per_second / pair.copy.per_second),
            of(&|pair| pair.drain.per_second / pair.copy_indexed.per_second),
            of(&|pair| pair.drain.persister_us),
            of(&|pair| pair.drain.postgres_us),
            of(&|pair| pair.copy.driver_us),
            of(&|pair| pair.copy.postgres_us),
            of(&|pair| pair.copy_indexed.postgres_us),
            of(&|pair| pair.drain.events_per_batch),
            of(&|pair| pair.drain.statements_per_event),
            of(&|pair| pair.drain.wal_bytes),
        )
    }
}

impl Report {
    pub fn text(&self) -> String {
        let mut text = format!(
            "machine     {}\nnoise       {:.1} % stolen, fsync p50 {} µs, max {} µs",
            self.machine.text(),
            self.noise.steal * 100.0,
            self.noise.fsync_p50_us,
            self.noise.fsync_max_us,
        );
        self.sizes.iter().for_each(|size| text.push_str(&size.text(self.events)));
        if let Some(Steady { rate, cost, behind }) = &self.steady {
            text.push_str(&format!(
                "\n\nat {rate}/s\nCPU µs/event              persister {:.0}, Postgres {:.0}, together {:.0}\n\
                 per batch, per event      {:.1} events, {:.2} statements, {:.0} bytes of WAL\n\
                 stored → in Postgres      {}",
                cost.persister_us,
                cost.postgres_us,
                cost.cpu(),
                cost.events_per_batch,
                cost.statements_per_event,
                cost.wal_bytes,
                behind.text()
            ));
        }
        text
    }
}
