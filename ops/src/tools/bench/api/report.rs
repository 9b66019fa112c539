//! What `ops bench api` says, on a terminal and on the page that keeps it.

use std::fmt::Write as _;

use serde::Serialize;

use super::{load::Loaded, measure::Figure, plans::Plans};
use crate::tools::bench::machine::{Machine, Noise};

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub postgres: String,
    pub conversations: u64,
    pub events: u64,
    pub loaded: Loaded,
    pub rate: f64,
    pub seconds: f64,
    pub noise: Noise,
    pub figures: Vec<Figure>,
    pub plans: Vec<Plans>,
}

impl Report {
    /// Everything was answered, and nothing read a large table through.
    pub fn is_sound(&self) -> bool {
        self.figures.iter().all(|figure| figure.failed == 0)
            && self.plans.iter().all(|plan| plan.read_through.is_empty())
    }

    fn head(&self) -> String {
        format!(
            "{}; Postgres {}; {} conversations, {} events ({:.1} GiB, loaded in {:.0} s); {} a second for {} s each; \
             other programs took {:.1} % of the time, {:.0} % was busy",
            self.machine.text(),
            self.postgres,
            self.conversations,
            self.events,
            self.loaded.gib,
            self.loaded.seconds,
            self.rate,
            self.seconds,
            self.noise.steal * 100.0,
            self.noise.busy * 100.0,
        )
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.head());
        for figure in &self.figures {
            let judged = if figure.meets_its_aim() { "" } else { "  MISSED" };
            writeln!(
                text,
                "{:<52} p50 {:>8.1}  p99 {:>8.1}  max {:>8.1} ms  (aim {}){judged}{}",
                figure.name,
                figure.p50_ms,
                figure.p99_ms,
                figure.max_ms,
                figure.aim_ms,
                if figure.failed > 0 {
                    format!("  {} of {} failed", figure.failed, figure.asked)
                } else {
                    String::new()
                },
            )
            .expect("writing to a String never fails");
        }
        for plan in self.plans.iter().filter(|plan| !plan.read_through.is_empty()) {
            writeln!(text, "READS THROUGH {}: {}", plan.read_through.join(", "), plan.name)
                .expect("writing to a String never fails");
        }
        text
    }

    /// The same as a page, with the plans.
    pub fn page(&self) -> String {
        let mut page = format!(
            "# Lists, gets and search: what was measured\n\n\
             Written by `ops bench api --page` (see `ops bench api --help`). Latency is from the intended instant of an \
             open loop.\n\n{}.\n\n| route | p50 ms | p99 ms | aim | failed | answer |\n|---|---|---|---|---|---|\n",
            self.head()
        );
        for figure in &self.figures {
            let p99 = if figure.meets_its_aim() {
                format!("{:.1}", figure.p99_ms)
            } else {
                format!("**{:.1}**", figure.p99_ms)
            };
            writeln!(
                page,
                "| {} | {:.1} | {p99} | {} | {} | {} B |",
                figure.name, figure.p50_ms, figure.aim_ms, figure.failed, figure.bytes
            )
            .expect("writing to a String never fails");
        }
        page.push_str("\n## Plans\n\nAs Postgres ran them (`auto_explain`), of statements that look at tables with more than 10,000 rows.\n");
        for plan in &self.plans {
            write!(page, "\n### {}\n\n", plan.name).expect("writing to a String never fails");
            if plan.plans.is_empty() {
                page.push_str("Looks at no large table.\n");
                continue;
            }
            for one in &plan.plans {
                write!(page, "```\n{one}```\n").expect("writing to a String never fails");
            }
        }
        page
    }
}
