//! `router replay`: what would have been, had the settings been others.
//!
//! Invariant: it only reads.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bus_schema::{
    Epoch, Event, IncarnationId, Shard, Subject, TenantId, Timestamp, config::Record, limits::CAPACITY_MAX,
    state::Strategy, stream, subject,
};
use ops::{
    kv::Kv,
    log::{DeliverFrom, Log},
    nats::Bus,
    provision,
    service::Context,
    settings::names,
};
use serde::{Deserialize, Serialize, de::value::StrDeserializer};

use crate::{
    replay::{Change, Entry, Figures, Measure, Recording, left_to_people, play},
    routing::Settings,
};

pub const USAGE: &str =
    "[--from TIME|SEQ] [--strategy NAME] [--capacity N] [--tenant ID] [--json]: the log with other settings";
const READ_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    from: Option<From>,
    change: Change,
    tenant: Option<TenantId>,
    json: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum From {
    Time(Timestamp),
    Seq(u64),
}

/// What happened, and what would have.
#[derive(Debug, Serialize)]
struct Report {
    shard: Shard,
    from: Timestamp,
    to: Timestamp,
    strategy: Option<Strategy>,
    capacity: Option<u32>,
    /// Threads of groups where people take them, or accept offers: of these nothing is told.
    left_out: usize,
    happened: Figures,
    replayed: Figures,
}

pub async fn replay(context: Context, args: Vec<String>) -> anyhow::Result<()> {
    let args =
        Args::parse(&args).map_err(|wrong| anyhow::anyhow!("{wrong}\nusage: router replay {USAGE}"))?;
    let bus = ops::nats::connect(&context, "router").await?;
    let grace = context.settings.millis(names::AGENT_GRACE_MS);
    let mut empty = true;
    for shard in provision::shards(&context.settings) {
        let report = of_shard(&bus, shard, &args, grace).await.with_context(|| format!("shard {shard}"))?;
        let Some(report) = report else {
            tracing::info!(%shard, "the log holds no thread to replay");
            continue;
        };
        empty = false;
        let text = if args.json { serde_json::to_string(&report)? } else { report.text() };
        use std::io::Write as _;
        // A closed pipe is the reader's choice.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    match args.from {
        Some(_) => ensure!(!empty, "no log holds a thread to replay from there on"),
        None => ensure!(!empty, "no log holds a thread to replay"),
    }
    Ok(())
}

/// What the log of one shard says; nothing, where it holds no thread.
async fn of_shard(
    bus: &Bus,
    shard: Shard,
    args: &Args,
    agent_grace: Duration,
) -> anyhow::Result<Option<Report>> {
    let log = Log::new(bus.clone(), shard);
    let records = records(bus, args.tenant).await?;
    let from = match &args.from {
        Some(From::Time(at)) => *at,
        Some(From::Seq(seq)) => {
            let first = log.first_after(&subject::stored_in_shard(shard), seq.saturating_sub(1)).await?;
            let Some(first) = first else { return Ok(None) };
            first.at
        }
        None => Timestamp::default(),
    };
    let (mut recording, mut happened) =
        (Recording::default(), Measure::new(from, left_to_people(&records, args.change)));
    read(&log, |entry| {
        if args.tenant.is_none_or(|tenant| entry.event.tenant_id == tenant) {
            happened.see(&entry.event, entry.at);
            recording.add(&entry);
        }
    })
    .await?;
    if recording.episodes.is_empty() {
        return Ok(None);
    }
    // What started was admitted.
    let (epoch, incarnation, open_max) = (Epoch::NIL, IncarnationId::NIL, None);
    let settings = Settings { shard, epoch, incarnation, agent_grace, open_max };
    let (began, to) = (recording.began.unwrap_or(from), recording.end);
    // The core alone is busy for as long as it takes.
    let change = args.change;
    let replayed =
        tokio::task::spawn_blocking(move || play(&recording, &records, change, settings, from)).await?;
    let Change { strategy, capacity } = change;
    let (left_out, happened) = (happened.left_out(), happened.figures(to));
    Ok(Some(Report { shard, from: from.max(began), to, strategy, capacity, left_out, happened, replayed }))
}

/// Everything that routing wrote or read, in order.
async fn read(log: &Log, mut see: impl FnMut(Entry)) -> anyhow::Result<()> {
    let filters: Vec<String> = subject::state_filters(log.shard())
        .into_iter()
        .filter(|filter| !filter.ends_with(".visitor.*"))
        .collect();
    if log.end().await?.last == 0 {
        return Ok(());
    }
    let mut tail = log.tail(filters, DeliverFrom::Start).await?;
    while tail.pending() > 0 {
        let message = tokio::time::timeout(READ_WITHIN, tail.next()).await.context("the log is silent")??;
        let subject = Subject::parse(&message.subject)?;
        // What a newer neighbour wrote is passed over.
        let Ok(event) = Event::decode(&message.payload) else { continue };
        see(Entry { at: message.at, subject, event });
    }
    Ok(())
}

async fn records(bus: &Bus, tenant: Option<TenantId>) -> anyhow::Result<Vec<Record>> {
    let config = Kv::open(bus, stream::CONFIG).await.context("open the configuration")?;
    let mut records = Vec::new();
    for key in config.keys().await? {
        let Some(entry) = config.get(&key).await? else { continue };
        let Ok(record) = Record::decode(&key, &entry.value) else { continue };
        if tenant.is_none_or(|tenant| record.tenant_id() == tenant) {
            records.push(record);
        }
    }
    // Agents before the groups that name them.
    records.sort_by_key(Record::entity);
    Ok(records)
}

impl Args {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut parsed = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            if flag == "--json" {
                parsed.json = true;
                continue;
            }
            let value = args.next().with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--from" => {
                    parsed.from = Some(match value.parse() {
                        Ok(seq) => From::Seq(seq),
                        Err(_) => From::Time(
                            Timestamp::parse(value).context("--from is a time (RFC 3339) or a sequence")?,
                        ),
                    });
                }
                "--strategy" => {
                    let named = StrDeserializer::<serde::de::value::Error>::new(value);
                    let strategy = Strategy::deserialize(named).ok();
                    parsed.change.strategy = Some(strategy.with_context(|| {
                        format!(
                            "no such strategy: {value} (round_robin, least_loaded, sticky, manual, broadcast)"
                        )
                    })?);
                    let automatic =
                        !matches!(parsed.change.strategy, Some(Strategy::Manual | Strategy::Broadcast));
                    ensure!(automatic, "{value} is people's doing, which no log tells of");
                }
                "--capacity" => {
                    let capacity = value.parse().ok().filter(|capacity| *capacity <= CAPACITY_MAX);
                    let capacity = capacity.with_context(|| format!("--capacity is 0 to {CAPACITY_MAX}"))?;
                    parsed.change.capacity = Some(capacity);
                }
                "--tenant" => {
                    parsed.tenant = Some(value.parse().context("--tenant is an id")?);
                }
                _ => bail!("no such option: {flag}"),
            }
        }
        Ok(parsed)
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, happened: String, replayed: String| {
            writeln!(text, "{name:<24} {happened:>14} {replayed:>14}")
                .expect("writing to a String never fails");
        };
        line("", "happened".to_owned(), "replayed".to_owned());
        let strategy = self.strategy.map_or("as configured", Strategy::name);
        line("strategy", "-".to_owned(), strategy.to_owned());
        let capacity = self.capacity.map_or_else(|| "as it was".to_owned(), |capacity| capacity.to_string());
        line("capacity", "-".to_owned(), capacity);
        let (a, b) = (&self.happened, &self.replayed);
        if self.left_out > 0 {
            line("left to people", self.left_out.to_string(), "-".to_owned());
        }
        line("threads", a.threads.to_string(), b.threads.to_string());
        line("assigned", a.assigned.to_string(), b.assigned.to_string());
        line("closed unserved", a.unserved.to_string(), b.unserved.to_string());
        let seconds = |value: f64| format!("{value:.1} s");
        line("wait, mean", seconds(a.wait_mean_s), seconds(b.wait_mean_s));
        line("wait, half within", seconds(a.wait_p50_s), seconds(b.wait_p50_s));
        line("wait, 95 % within", seconds(a.wait_p95_s), seconds(b.wait_p95_s));
        line("wait, longest", seconds(a.wait_max_s), seconds(b.wait_max_s));
        let percent = |value: f64| format!("{:.0} %", value * 100.0);
        line("use of agents' room", percent(a.use_share), percent(b.use_share));
        line("fairness (1 is even)", format!("{:.3}", a.fairness), format!("{:.3}", b.fairness));
        let range = |figures: &Figures| format!("{}–{}", figures.assigned_least, figures.assigned_most);
        line("assignments per agent", range(a), range(b));
        write!(text, "shard {}, {} to {}", self.shard, self.from, self.to)
            .expect("writing to a String never fails");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> anyhow::Result<Args> {
        Args::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_asked_for_is_understood_and_nonsense_is_refused_by_name() {
        let args = parsed("--from 100 --strategy round_robin --capacity 3 --json").unwrap();
        let change = Change { strategy: Some(Strategy::RoundRobin), capacity: Some(3) };
        assert_eq!(args, Args { from: Some(From::Seq(100)), change, tenant: None, json: true });
        let from = Timestamp::parse("2026-11-21T01:02:03Z").unwrap();
        assert_eq!(parsed("--from 2026-11-21T01:02:03Z").unwrap().from, Some(From::Time(from)));
        for (wrong, said) in [
            ("--from yesterday", "--from"),
            ("--strategy best", "no such strategy: best"),
            ("--strategy manual", "people's doing"),
            ("--capacity many", "--capacity"),
            ("--capacity 101", "--capacity"),
            ("--tenant nobody", "--tenant"),
            ("--form 3", "no such option: --form"),
            ("--from", "needs a value"),
        ] {
            let error = format!("{:#}", parsed(wrong).unwrap_err());
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
