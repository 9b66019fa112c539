//! The loop of one shard.
//!
//! Invariant: the core decides only after it has read the log to its end, the configuration and the leases; on a
//! shutdown it decides nothing more, and every write under way is seen to its end.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use bus_schema::{Body, IncarnationId, stream};
use ops::{
    health::Check,
    kv::Kv,
    log::Log,
    nats::Bus,
    service::{Context, Unavailable},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    clock::{self, Skew},
    commands::{self, Asked},
    feed::{self, FEED_MAX, Fed},
    holder, leases, looker, metrics,
    signals::{self, Signals},
    unseen, visitors, writer,
};
use crate::{
    routing::{Effect, Input, Routing, Settings, Token},
    steps::{Change, Source, Turn},
};

const TICK: Duration = Duration::from_millis(250);
/// How often gauges and checks are renewed.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// An answer that cannot be sent in this time is not sent: its sender asks again.
const REPLY_WITHIN: Duration = Duration::from_secs(2);
/// Unreadable subjects that the readiness page names.
const NAMED_MAX: usize = 5;
/// How long a shutdown waits for writes under way; the process's own deadline may be shorter.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Commands for which something is read again at once; others go by what is known.
const READING_AGAIN_MAX: usize = 64;

/// What came of something that was under way.
enum Done {
    Nothing,
    /// The core should hear it.
    Told(Box<Input>),
    ReadAgain {
        asked: Box<Asked>,
        found: Vec<Input>,
    },
}

impl Done {
    fn told(input: Input) -> Self {
        Self::Told(Box::new(input))
    }
}

pub struct Shard {
    context: Context,
    log: Log,
    leases: Kv,
    options: Options,
    incarnation: IncarnationId,
    routing: Routing,
    signals: Signals,
    feeds: mpsc::Receiver<Fed>,
    feed: feed::Feed,
    config: Kv,
    /// Writes, reads and answers under way.
    work: JoinSet<Done>,
    /// Commands for which something is read again.
    reading_again: usize,
    asked: BTreeMap<u64, Asked>,
    next_token: u64,
    turn: Turn,
    /// Ends the subscription to commands.
    serving: Option<CancellationToken>,
    skew: Skew,
    checks: Checks,
}

struct Checks {
    log: Check,
    clock: Check,
    states: Check,
}

impl Shard {
    /// Begins to read everything the core needs.
    pub async fn start(
        context: Context,
        bus: Bus,
        options: Options,
        incarnation: IncarnationId,
    ) -> anyhow::Result<Self> {
        let log = Log::new(bus.clone(), options.shard);
        let epoch = log.epoch().await.map_err(|error| {
            Unavailable::new(format!("stream {}: {error}", log.stream()), "run `ops provision`")
        })?;
        let Options { shard, agent_grace, open_max, .. } = options;
        let settings = Settings { shard, epoch, incarnation, agent_grace, open_max };
        let config = Kv::open(&bus, stream::CONFIG).await.context("open the configuration")?;
        let leases = Kv::open(&bus, stream::LEASES).await.context("open the leases")?;
        let checks = Checks {
            log: context.health.check("log"),
            clock: context.health.check("clock"),
            states: context.health.check("states"),
        };
        checks.log.fail("the log is being read");
        checks.clock.ok();
        checks.states.ok();
        metrics::leader(false);
        let (feed, feeds) = mpsc::channel(FEED_MAX);
        // Feeders end with the process: they only read.
        let stop = context.shutdown.clone();
        let reading = feed::log(log.clone(), feed.clone(), checks.log.clone());
        let configuring = feed::config(config.clone(), feed.clone());
        let following = leases::follow(leases.clone(), feed.clone());
        let holding = holder::hold(leases.clone(), options.clone(), incarnation, feed.clone(), stop.clone());
        let (signals, carrying) = signals::begin(bus.client.clone(), options.shard);
        context.spawn("signals", ended_by(stop.clone(), carrying));
        let visiting = visitors::follow(bus.client.clone(), options.shard, feed.clone());
        context.spawn("visitors", ended_by(stop.clone(), visiting));
        context.spawn("log", ended_by(stop.clone(), reading));
        context.spawn("config", ended_by(stop.clone(), configuring));
        context.spawn("leases", ended_by(stop, following));
        context.spawn("lease", holding);
        Ok(Self {
            context,
            log,
            leases,
            options,
            incarnation,
            routing: Routing::new(settings),
            signals,
            feeds,
            feed,
            config,
            work: JoinSet::new(),
            reading_again: 0,
            asked: BTreeMap::new(),
            next_token: 1,
            turn: Turn::default(),
            serving: None,
            skew: Skew::new(),
            checks,
        })
    }

    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut measure = interval(MEASURE_EVERY);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.context.shutdown.clone();
        loop {
            let more = self.routing.has_more();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(done) = self.work.join_next() => self.done(done),
                _ = tick.tick() => self.tell(Input::Tick),
                _ = measure.tick() => self.measure(),
                Some(fed) = self.feeds.recv() => self.fed(fed),
                () = tokio::task::yield_now(), if more => self.tell(Input::Tick),
            }
        }
        self.finish().await;
        Ok(())
    }

    fn fed(&mut self, fed: Fed) {
        match fed {
            Fed::Input(input) => self.tell(input),
            Fed::Log { stored, pending } => {
                let now = clock::now();
                metrics::lag(pending, now.since(stored.at));
                if pending == 0 && self.turn.is_whole(Source::Log) {
                    self.skew.saw(stored.at, now);
                }
                self.tell(Input::Log(stored));
            }
            Fed::Whole(source) => {
                tracing::info!(?source, "read to its end");
                if source == Source::Log {
                    self.checks.log.ok();
                }
                let change = self.turn.whole(source);
                self.take_turn(change);
            }
            Fed::Role(role) => {
                let change = self.turn.role(role);
                self.take_turn(change);
            }
            Fed::Command(asked) => self.command(asked),
        }
    }

    /// Hands a command to the core, once the core knows what it names or there is no such thing.
    fn command(&mut self, mut asked: Asked) {
        let unseen = self.routing.unseen(asked.tenant, &asked.request.command);
        let again = !unseen.is_empty()
            && asked.read_again < unseen::TIMES_MAX
            && self.reading_again < READING_AGAIN_MAX;
        if again {
            asked.read_again += 1;
            self.reading_again += 1;
            let sources = unseen::Sources { config: self.config.clone(), log: self.log.clone() };
            self.work.spawn(async move {
                let found = sources.read(asked.tenant, unseen).await;
                Done::ReadAgain { asked: Box::new(asked), found }
            });
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        let (tenant, request) = (asked.tenant, asked.request.clone());
        self.asked.insert(token, asked);
        self.tell(Input::Command { token: Token(token), tenant, request });
    }

    fn take_turn(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Begin) => self.begin(),
            Some(Change::End) => self.stand_by(),
            None => {}
        }
    }

    /// Decides from now on.
    fn begin(&mut self) {
        let stop = self.context.shutdown.child_token();
        let client = self.log.bus().client.clone();
        let serving = commands::serve(client, self.options.shard, self.feed.clone(), stop.clone());
        self.context.spawn("commands", serving);
        self.serving = Some(stop);
        metrics::leader(true);
        tracing::info!(shard = %self.options.shard, "routing");
        self.tell(Input::Activate);
    }

    fn stand_by(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.cancel();
            tracing::info!(shard = %self.options.shard, "standing by");
        }
        metrics::leader(false);
        self.tell(Input::StandBy);
    }

    /// Tells the core, and begins what it asks for.
    fn tell(&mut self, input: Input) {
        let began = Instant::now();
        self.routing.handle(input, clock::now());
        while let Some(effect) = self.routing.poll_effect() {
            self.begin_effect(effect, began);
        }
    }

    fn begin_effect(&mut self, effect: Effect, began: Instant) {
        match effect {
            Effect::Write(mut write) => {
                let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                for message in &mut write.messages {
                    if let Body::Decided(decided) = &mut message.event.body {
                        decided.decision.took_us = took_us;
                    }
                }
                let (log, signals) = (self.log.clone(), self.signals.clone());
                self.work.spawn(async move {
                    let outcome = Box::pin(writer::write(log, signals, write.clone())).await;
                    if matches!(outcome, Input::Written { .. }) {
                        metrics::stored(&write);
                    }
                    Done::told(outcome)
                });
            }
            Effect::Refresh { subject } => {
                let log = self.log.clone();
                self.work.spawn(async move { Done::told(writer::refresh(log, subject).await) });
            }
            Effect::Look { tenant, conversation, thread, after } => {
                let log = self.log.clone();
                let asked = looker::Asked { tenant, conversation, thread, after };
                self.work.spawn(async move { Done::told(looker::look(log, asked).await) });
            }
            Effect::AskEdges { tenant, conversations, edges } => {
                let (client, shard) = (self.log.bus().client.clone(), self.options.shard);
                let asking = visitors::ask(client, (shard, tenant), conversations, edges);
                self.work.spawn(async move { Done::told(asking.await) });
            }
            Effect::Tell { tenant, told } => self.signals.say(tenant, &told),
            Effect::Reply { token, outcome } => {
                let Some(asked) = self.asked.remove(&token.0) else { return };
                metrics::answered(asked.request.command.name(), &outcome, asked.at.elapsed());
                let client = self.log.bus().client.clone();
                self.work.spawn(async move {
                    let payload = serde_json::to_vec(&outcome).expect("an outcome is JSON");
                    let sent = timeout(REPLY_WITHIN, client.publish(asked.reply, payload.into())).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        tracing::debug!("an answer was not sent");
                    }
                    Done::Nothing
                });
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Told(input)) => self.tell(*input),
            Ok(Done::ReadAgain { asked, found }) => {
                self.reading_again -= 1;
                found.into_iter().for_each(|input| self.tell(input));
                self.command(*asked);
            }
            Ok(Done::Nothing) => {}
            Err(error) if error.is_cancelled() => {}
            // The core would wait for ever for what this task should have said.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn measure(&mut self) {
        metrics::counted(&self.routing.counters());
        metrics::measured(&self.routing.stats());
        match self.skew.too_far() {
            None => self.checks.clock.ok(),
            Some(by) => self.checks.clock.fail(format!("the clock and the bus's differ by {by:?}")),
        }
        let frozen = self.routing.frozen(NAMED_MAX);
        if frozen.is_empty() {
            self.checks.states.ok();
        } else {
            let names: Vec<String> = frozen.iter().map(ToString::to_string).collect();
            self.checks.states.fail(format!("states that cannot be read: {}", names.join(", ")));
        }
    }

    /// Decides nothing more, sees writes to their end, and lets another router begin.
    async fn finish(&mut self) {
        self.stand_by();
        let deadline = Instant::now() + FINISH_WITHIN;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.work.join_next()).await {
            self.done(done);
        }
        if self.options.turns == super::Turns::Lease {
            let gave_up = holder::give_up(&self.leases, &self.options, self.incarnation);
            if let Ok(Err(error)) = timeout(REPLY_WITHIN, gave_up).await {
                tracing::debug!(%error, "the lease ends by itself");
            }
        }
    }
}

async fn ended_by(
    stop: CancellationToken,
    task: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    stop.run_until_cancelled(task).await.unwrap_or(Ok(()))
}
