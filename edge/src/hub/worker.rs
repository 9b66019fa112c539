//! One worker: a loop over requests, live copies, and ended reads and writes.
//!
//! Invariant: nothing here waits; what takes time is a future in `work` or a subscription in `live`.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bus_schema::{Audience, subject::ConversationSubjects};
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, SelectAll},
};
use ops::log::Log;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Ask,
    io::{Done, Place},
    marks::Marks,
    room::Room,
    signals::Signals,
    window::Window,
};
use crate::{conn::Reply, core::Core};

const TICK: Duration = Duration::from_millis(500);
/// A longer silence of the loop means that the process stood still.
const PAUSED: Duration = Duration::from_secs(2);
/// Live copies taken before others have their turn.
const LIVE_BUDGET: usize = 64;

/// Live copies of one feed; ends when the feed is dropped.
pub type Live = Pin<Box<dyn Stream<Item = (Place, async_nats::Message)> + Send>>;

pub struct Worker {
    pub(super) core: Arc<Core>,
    pub(super) rooms: HashMap<ConversationSubjects, Room>,
    pub(super) live: SelectAll<Live>,
    pub(super) work: FuturesUnordered<BoxFuture<'static, Done>>,
    pub(super) window: Window,
    /// Rooms whose sends wait for the window.
    pub(super) blocked: VecDeque<ConversationSubjects>,
    /// Sends that wait in all rooms.
    pub(super) queued: usize,
    /// Feeds in doubt whose look at the leader waits its turn, and how many look now.
    pub(super) doubtful: VecDeque<Place>,
    pub(super) looking: usize,
    /// Loads begun so far: each has its number.
    pub(super) loads: u64,
    /// Where each connection is a member or wants to be.
    pub(super) whereabouts: HashMap<u64, Vec<Place>>,
    /// Of the configuration by which members were let in.
    configured: u64,
    pub(super) signals: Signals,
    pub(super) marks: Marks<Reply>,
    asks: mpsc::Receiver<Ask>,
}

impl Worker {
    pub fn new(core: Arc<Core>, asks: mpsc::Receiver<Ask>) -> Self {
        Self {
            core,
            rooms: HashMap::new(),
            live: SelectAll::new(),
            work: FuturesUnordered::new(),
            window: Window::new(Instant::now()),
            blocked: VecDeque::new(),
            queued: 0,
            doubtful: VecDeque::new(),
            looking: 0,
            loads: 0,
            whereabouts: HashMap::new(),
            configured: 0,
            signals: Signals::default(),
            marks: Marks::default(),
            asks,
        }
    }

    pub async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut bus = self.core.bus.state.clone();
        let mut generation = bus.borrow().generation;
        let mut last_tick = Instant::now();
        loop {
            tokio::select! {
                Some((place, message)) = self.live.next() => self.on_live_batch(place, message),
                Some(done) = self.work.next() => self.on_done(done),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                changed = bus.changed() => {
                    let now = bus.borrow_and_update().generation;
                    if changed.is_err() {
                        return;
                    }
                    if now != generation {
                        generation = now;
                        self.doubt_all();
                    }
                }
                now = tick.tick() => {
                    if now.saturating_duration_since(last_tick) > PAUSED {
                        self.doubt_all();
                    }
                    last_tick = now;
                    let configured = self.core.directory.version();
                    if std::mem::replace(&mut self.configured, configured) != configured {
                        self.recheck_all();
                    }
                    self.on_tick(now);
                    self.on_pace(now);
                }
            }
        }
    }

    fn on_live_batch(&mut self, place: Place, message: async_nats::Message) {
        self.on_live(place, &message);
        for _ in 1..LIVE_BUDGET {
            match self.live.next().now_or_never() {
                Some(Some((place, message))) => self.on_live(place, &message),
                Some(None) | None => break,
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Join(join) => self.on_join(join),
            Ask::Go { home, audience, conn } => self.on_go(Place { home, audience }, conn),
            Ask::Leave { home, audience, conn, view } => self.on_leave(Place { home, audience }, conn, view),
            Ask::Recheck { home } => self.on_recheck(home),
            Ask::Send(job) => self.on_send(job),
            Ask::Act(act) => self.on_act(act),
            Ask::Forget { conn } => self.on_forget(conn),
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened { place, result } => self.on_opened(place, result),
            Done::Tail { place, counted, result } => self.on_tail(place, counted, result),
            Done::Read { place, result } => self.on_read(place, result),
            Done::Loaded { place, conn, load, loaded } => self.on_loaded(place, conn, load, *loaded),
            Done::Sent { job, result } => self.on_sent(job, result),
            Done::Looked { act, result } => self.on_looked(*act, result),
            Done::Marked { marker, due, result } => self.on_marked(marker, due, result),
            Done::Told => {}
            Done::Checked { shard, places, result } => self.on_checked(shard, &places, result),
        }
    }

    /// The log of a home; every home that reaches a worker was made by `Core::home`.
    pub(super) fn log(&self, home: ConversationSubjects) -> Log {
        self.core.log(home.shard).expect("homes are made for shards that are served").clone()
    }

    /// Forgets a feed without readers, and a room without anything.
    pub(super) fn tidy(&mut self, home: ConversationSubjects) {
        let Some(room) = self.rooms.get_mut(&home) else { return };
        for audience in [Audience::All, Audience::Staff] {
            let slot = room.feed_mut(audience);
            // One that is being opened is tidied when that ended.
            if slot.as_ref().is_some_and(|state| state.feed.is_some() && state.is_unused()) {
                *slot = None;
                self.core.measures.rooms.decrement(1.0);
            }
        }
        if room.is_idle() {
            self.rooms.remove(&home);
        }
    }
}
