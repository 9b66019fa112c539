//! One worker: a loop over requests, what comes over its connection, and ended reads and writes.
//!
//! Invariant: nothing here waits; what takes time is a future in `work` or an answer that comes over the wire. Its
//! connection is its own, so a read of the leader is answered after the subscription that it follows.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bus_schema::{Audience, Shard, subject::ConversationSubjects};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use ops::{
    log::Log,
    wire::{Driver, Incoming, Wire},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Ask,
    blocked::Blocked,
    io::{Done, Place},
    marks::Marks,
    room::Room,
    sends::Writing,
    signals::Signals,
    subscriptions::Subscriptions,
    window::Window,
};
use crate::{
    conn::{Conn, Reply},
    core::Core,
};

const TICK: Duration = Duration::from_millis(500);
/// A longer silence of the loop means that the process stood still.
const PAUSED: Duration = Duration::from_secs(2);
/// Requests taken before others have their turn.
const ASK_BUDGET: usize = 64;

pub struct Worker {
    pub(super) core: Arc<Core>,
    /// Boxed: a table has up to twice the room that it needs.
    pub(super) rooms: HashMap<ConversationSubjects, Box<Room>>,
    pub(super) wire: Wire,
    pub(super) subscriptions: Subscriptions,
    /// First writes of sends that wait for their answer.
    pub(super) writing: HashMap<u64, Writing>,
    pub(super) next_write: u64,
    pub(super) work: FuturesUnordered<BoxFuture<'static, Done>>,
    pub(super) window: Window,
    /// Rooms whose sends wait for the window.
    pub(super) blocked: Blocked,
    /// Sends that wait in all rooms, and their bytes.
    pub(super) queued: usize,
    pub(super) queued_bytes: usize,
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
    /// Connections with frames that are written at the end of this turn.
    pub(super) dirty: Vec<Arc<Conn>>,
    asks: mpsc::Receiver<Ask>,
    /// The logs, over this worker's connection.
    logs: BTreeMap<Shard, Log>,
    driver: Option<Driver>,
}

impl Worker {
    pub fn new(core: Arc<Core>, asks: mpsc::Receiver<Ask>) -> Self {
        let driver = Driver::new(&core.bus);
        let wire = driver.wire();
        let logs = core.shards.iter().map(|(shard, (log, _))| (*shard, log.over(wire.clone()))).collect();
        Self {
            core,
            rooms: HashMap::new(),
            wire,
            subscriptions: Subscriptions::new(),
            writing: HashMap::new(),
            next_write: 0,
            work: FuturesUnordered::new(),
            window: Window::new(Instant::now()),
            blocked: Blocked::default(),
            queued: 0,
            queued_bytes: 0,
            doubtful: VecDeque::new(),
            looking: 0,
            loads: 0,
            whereabouts: HashMap::new(),
            configured: 0,
            signals: Signals::default(),
            marks: Marks::default(),
            dirty: Vec::new(),
            asks,
            logs,
            driver: Some(driver),
        }
    }

    pub async fn run(mut self) {
        let Some(mut driver) = self.driver.take() else { return };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_tick = Instant::now();
        let mut asked = Vec::with_capacity(ASK_BUDGET);
        loop {
            tokio::select! {
                () = driver.ready() => self.on_wire(&mut driver),
                Some(done) = self.work.next() => self.on_done(done),
                count = self.asks.recv_many(&mut asked, ASK_BUDGET) => {
                    if count == 0 {
                        return;
                    }
                    asked.drain(..).for_each(|ask| self.on_ask(ask));
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
                    driver.tick(now);
                    self.on_tick(now);
                    self.on_pace(now);
                    self.refuse_late();
                }
            }
            for conn in self.dirty.drain(..) {
                conn.flush();
            }
        }
    }

    fn on_wire(&mut self, driver: &mut Driver) {
        while let Some(incoming) = driver.take() {
            match incoming {
                Incoming::Message(message) => self.on_live(&message),
                Incoming::Answer { key, result } => self.on_written(key, result),
                Incoming::Connected => {
                    self.subscriptions.again(driver);
                    self.doubt_all();
                }
            }
        }
        self.unblock();
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
            Done::Tail { place, highest, counted, result } => {
                self.looking -= usize::from(counted);
                self.on_tail(place, highest, result);
            }
            Done::Ends { place, result } => {
                self.on_answer(place, result, |feed, ends, actions| feed.on_ends(&ends, actions));
            }
            Done::Read { place, result } => {
                self.on_answer(place, result, |feed, (entries, ended), actions| {
                    feed.on_read(entries, ended, actions);
                })
            }
            Done::Loaded { place, conn, load, loaded } => self.on_loaded(place, conn, load, *loaded),
            Done::Sent { job, result } => self.on_sent(job, result),
            Done::Looked { act, result } => self.on_looked(*act, result),
            Done::Marked { marker, due, result } => self.on_marked(marker, due, result),
            Done::Told => {}
            Done::Held { home } => self.on_held(home),
            Done::Checked { shard, places, result } => self.on_checked(shard, &places, result),
        }
    }

    /// The log of a home; every home that reaches a worker was made by `Core::home`.
    pub(super) fn log(&self, home: ConversationSubjects) -> Log {
        self.logs.get(&home.shard).expect("homes are made for shards that are served").clone()
    }

    /// Forgets a feed without readers, and a room without anything.
    pub(super) fn tidy(&mut self, home: ConversationSubjects) {
        let Some(room) = self.rooms.get_mut(&home) else { return };
        for audience in [Audience::All, Audience::Staff] {
            let slot = room.feed_mut(audience);
            // One that is being opened is tidied when that ended.
            if let Some(state) = slot.take_if(|state| state.feed.is_some() && state.is_unused()) {
                self.subscriptions.end(state.sid, &self.wire);
                self.core.measures.rooms.decrement(1.0);
            }
        }
        if room.is_idle() {
            self.rooms.remove(&home);
        }
    }
}
