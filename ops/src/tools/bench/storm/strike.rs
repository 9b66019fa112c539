//! Killing an edge, and watching who comes back when.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bus_schema::subject;
use futures::{StreamExt as _, future::join_all};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::{sleep, sleep_until, timeout_at};

use super::super::{
    cast::Cast,
    ledger::Ledger,
    run::Bench,
    spread::{Quantiles, Spread},
};
use crate::client::{Client, Phase};

const POLL: Duration = Duration::from_millis(5);
/// How long the load may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);
/// Who is not back by then, after the load, never comes.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// The aim.
const SOON: Duration = Duration::from_secs(3);
const LATENCY_FROM_NS: u64 = 1_000_000_000;

/// Which edge, and when, after the load has begun.
pub struct Strike {
    pub victim: u32,
    pub after: Duration,
    pub until: Duration,
}

/// What it did.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// Clients that were connected to the edge, visitors and agents.
    pub hit: usize,
    pub back: usize,
    pub back_within_3_s: usize,
    /// From the kill until logged in and caught up.
    pub resumed: Quantiles,
    /// Conversations that were given as a whole again instead.
    pub resets: u64,
    /// Clients on the other edges that lost their connection.
    pub others_lost: u64,
    /// Clients that gave up.
    pub stopped: usize,
    /// Questions for history that only Postgres has, asked over the bus meanwhile.
    pub history_asked: usize,
    /// Delivery where both sides were on other edges, before and from the kill on.
    pub others_before: Quantiles,
    pub others_after: Quantiles,
    /// Delivery where a side had to come back.
    pub hit_after: Quantiles,
}

struct Standing<'a> {
    client: &'a Client,
    edge: Option<String>,
    logins: u64,
    resets: u64,
    disconnects: u64,
}

pub async fn strike(bench: &Bench, blow: Strike) -> anyhow::Result<Struck> {
    let cast = &*bench.cast;
    let ledger = begun(bench).await?;
    let history = subject::history_of_shard(bench.log.shard());
    let mut asked = bench.log.bus().client.subscribe(history).await.context("cannot hear history")?;
    sleep_until((ledger.start() + blow.after).into()).await;
    let before: Vec<Standing<'_>> = clients(cast).map(Standing::of).collect();
    let pid = i32::try_from(blow.victim).ok().and_then(Pid::from_raw).context("no process has this id")?;
    kill_process(pid, Signal::KILL).context("the edge cannot be killed")?;
    let killed = Instant::now();
    let until = ledger.start() + blow.until;
    let mut back = join_all(before.iter().map(|standing| standing.back(killed, until))).await;
    sleep_until(until.into()).await;
    // The kernel closes what the edge had at once: who lost a connection by now was on it.
    let edge = most_lost(&before);
    let was_hit = |standing: &Standing<'_>| standing.edge.is_some() && standing.edge == edge;
    let (hit, others): (Vec<_>, Vec<_>) = before.iter().partition(|standing| was_hit(standing));
    let late = before.iter().zip(&mut back).filter(|(standing, back)| was_hit(standing) && back.is_none());
    join_all(late.map(async |(standing, back)| *back = standing.back(killed, until + BACK_WITHIN).await))
        .await;
    let back: Vec<Duration> =
        before.iter().zip(back).filter_map(|(standing, back)| back.filter(|_| was_hit(standing))).collect();
    let mut asks = 0;
    while let Ok(Some(_)) = timeout_at((Instant::now() + POLL).into(), asked.next()).await {
        asks += 1;
    }
    let mut resumed = Spread::new();
    let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    back.iter().for_each(|took| resumed.record_ns(nanos(*took)));
    let hit_clients: HashSet<_> = hit.iter().map(|standing| std::ptr::from_ref(standing.client)).collect();
    let hit_at = |client: &Client| hit_clients.contains(&std::ptr::from_ref(client));
    let touched: Vec<bool> =
        cast.pairs.iter().map(|pair| hit_at(&pair.visitor) || hit_at(&cast.agents[pair.agent])).collect();
    let kill_ns = nanos(killed - ledger.start());
    let latency = |from: u64, to: u64, of: bool| {
        ledger.latency(|due| (from..to).contains(&due.at_ns) && touched[due.pair as usize] == of)
    };
    Ok(Struck {
        hit: hit.len(),
        back: back.len(),
        back_within_3_s: back.iter().filter(|took| **took <= SOON).count(),
        resumed: resumed.quantiles(),
        resets: before.iter().map(|standing| standing.client.counts().resets - standing.resets).sum(),
        others_lost: others.iter().map(|standing| standing.lost()).sum(),
        stopped: before.iter().filter(|standing| standing.has_stopped()).count(),
        history_asked: asks,
        others_before: latency(LATENCY_FROM_NS.min(kill_ns), kill_ns, false),
        others_after: latency(kill_ns, u64::MAX, false),
        hit_after: latency(kill_ns, u64::MAX, true),
    })
}

/// The run's events, once there is a run.
async fn begun(bench: &Bench) -> anyhow::Result<Arc<Ledger>> {
    let deadline = Instant::now() + BEGIN_WITHIN;
    while Instant::now() < deadline {
        if let Some(ledger) = bench.board.now() {
            return Ok(ledger);
        }
        sleep(POLL).await;
    }
    anyhow::bail!("the load did not begin")
}

fn clients(cast: &Cast) -> impl Iterator<Item = &Client> {
    cast.agents.iter().chain(cast.pairs.iter().map(|pair| &pair.visitor))
}

/// The edge whose clients lost most connections.
fn most_lost(before: &[Standing<'_>]) -> Option<String> {
    let mut lost = BTreeMap::<&str, u64>::new();
    for standing in before {
        if let Some(edge) = &standing.edge {
            *lost.entry(edge).or_default() += standing.lost();
        }
    }
    lost.into_iter().max_by_key(|(_, lost)| *lost).map(|(edge, _)| edge.to_owned())
}

impl<'a> Standing<'a> {
    fn of(client: &'a Client) -> Self {
        let (state, counts) = (client.state().borrow().clone(), client.counts());
        let (resets, disconnects) = (counts.resets, counts.disconnects);
        Self { client, edge: state.edge_id, logins: state.logins, resets, disconnects }
    }

    /// How long after the kill it was logged in again and had caught up; none: not until then.
    async fn back(&self, killed: Instant, until: Instant) -> Option<Duration> {
        let mut state = self.client.state();
        let ready = state.wait_for(|state| state.logins > self.logins && state.is_ready());
        let ready = timeout_at(until.into(), ready).await;
        matches!(ready, Ok(Ok(_))).then(|| killed.elapsed())
    }

    fn lost(&self) -> u64 {
        self.client.counts().disconnects - self.disconnects
    }

    fn has_stopped(&self) -> bool {
        matches!(self.client.state().borrow().phase, Phase::Stopped(_))
    }
}
