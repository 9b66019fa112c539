//! What a storm came to.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    super::{
        machine::{Durability, Machine},
        run::Run,
    },
    strike::Struck,
};

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub durability: Durability,
    pub clients: usize,
    pub edges: usize,
    pub run: Run,
    pub struck: Struck,
}

impl Report {
    /// Nothing was lost, nobody gave up, and nothing was refused for good.
    pub fn is_sound(&self) -> bool {
        let (tally, struck) = (&self.run.tally, &self.struck);
        tally.lost + tally.doubled + tally.reordered + tally.failed == 0
            && tally.counted == tally.due
            && struck.back == struck.hit
            && struck.stopped == 0
    }

    pub fn text(&self) -> String {
        let Self { machine, durability, clients, edges, run, struck } = self;
        let tally = &run.tally;
        let mut text = String::new();
        let mut line = |what: String| writeln!(text, "{what}").expect("writing to a String never fails");
        line(format!("machine     {}", machine.text()));
        line(format!("durability  {}", durability.text()));
        line(format!(
            "setting     {clients} visitors with open conversations, {edges} edges, {:.0} events/s for {:.0} s, no pinning",
            run.rate, run.seconds
        ));
        let share = |part: usize| 100.0 * part as f64 / struck.hit.max(1) as f64;
        line(format!("\nhit         {} clients were on the edge that was killed", struck.hit));
        line(format!(
            "resumed     {:.1} % within 3 s, {:.1} % in all; {}",
            share(struck.back_within_3_s),
            share(struck.back),
            struck.resumed.text()
        ));
        line(format!(
            "            {} conversations given as a whole again, {} questions for history in Postgres",
            struck.resets, struck.history_asked
        ));
        line(format!(
            "others      {} connections lost; p50, p99 of delivery before {}",
            struck.others_lost,
            struck.others_before.text()
        ));
        line(format!("            from the kill on {}", struck.others_after.text()));
        line(format!("hit pairs   from the kill on {}", struck.hit_after.text()));
        let database =
            tally.stored_in_database.map_or_else(|| "not asked".to_owned(), |count| count.to_string());
        line(format!(
            "events      due {}  acked {}  delivered {}  stored {} (Postgres {database})  counted {}",
            tally.due, tally.acked, tally.delivered, tally.stored_in_log, tally.counted
        ));
        line(format!(
            "faults      lost {}  doubled {}  reordered {}  refused for good {}  clients that gave up {}",
            tally.lost, tally.doubled, tally.reordered, tally.failed, struck.stopped
        ));
        let refused: Vec<_> = tally.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        line(format!(
            "retries     {}",
            if refused.is_empty() { "none was told".to_owned() } else { refused.join("  ") }
        ));
        line(format!(
            "noise       driver lag p99 {:.3} ms, steal {:.1} %, busy {:.0} %",
            tally.lag.p99_us as f64 / 1e3,
            run.noise.steal * 100.0,
            run.noise.busy * 100.0
        ));
        if let Some(why) = &run.invalid {
            line(format!("INVALID     {why}"));
        }
        if !self.is_sound() {
            line(
                "\nUNSOUND: something was lost, doubled, reordered, given up or did not come back".to_owned(),
            );
        }
        text
    }
}
