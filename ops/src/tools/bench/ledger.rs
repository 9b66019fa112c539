//! What became of every event of a run.
//!
//! Invariant: an event counts only if the other side has it exactly once, its sender was told that it is stored, and
//! the stores hold it exactly once; everything else has a name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bus_schema::{ClientId, ConversationId, ErrorBody};
use serde::Serialize;

use super::{
    schedule::Due,
    spread::{Quantiles, Spread},
};
use crate::client::{EventHead, Observer, Sent};

#[derive(Debug, Default)]
struct Slot {
    /// Nanoseconds after the start; 0: never.
    sent: AtomicU64,
    acked: AtomicU64,
    seen: AtomicU64,
    times_seen: AtomicU8,
    in_log: AtomicU8,
    in_database: AtomicU8,
    seq: AtomicU64,
}

/// One run's events.
pub struct Ledger {
    start: Instant,
    prefix: String,
    dues: Vec<Due>,
    slots: Vec<Slot>,
    refusals: Mutex<BTreeMap<String, u64>>,
    failed: AtomicU64,
    /// What is acknowledged from here on was not waited for.
    over: AtomicBool,
}

/// What a run came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    pub due: u64,
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub stored_in_log: u64,
    pub stored_in_database: Option<u64>,
    /// All of it, exactly once.
    pub counted: u64,
    /// Acknowledged, and then missing at the other side or in a store.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Refusals by code; of those that last only a while, each time.
    pub refused: BTreeMap<String, u64>,
    /// Refused for good, or given up.
    pub failed: u64,
    /// From the instant it was due until the other side had it.
    pub latency: Quantiles,
    /// From the instant it was due until its sender was told that it is stored.
    pub ack: Quantiles,
    /// How late the driver itself was.
    pub lag: Quantiles,
}

impl Ledger {
    pub fn new(run: u32, start: Instant, dues: Vec<Due>) -> Self {
        let slots = dues.iter().map(|_| Slot::default()).collect();
        let prefix = format!("b{run:08x}-");
        Self {
            start,
            prefix,
            dues,
            slots,
            refusals: Mutex::default(),
            failed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    pub fn dues(&self) -> &[Due] {
        &self.dues
    }

    pub const fn start(&self) -> Instant {
        self.start
    }

    /// What the names of this run's events begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn client_id(&self, index: usize) -> ClientId {
        ClientId::new(format!("{}{index}", self.prefix)).expect("hexadecimal digits, a hyphen, digits")
    }

    fn index(&self, client_id: &str) -> Option<usize> {
        let index = client_id.strip_prefix(&self.prefix)?.parse().ok()?;
        (index < self.slots.len()).then_some(index)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub fn sent(&self, index: usize) {
        self.slots[index].sent.store(self.now(), Relaxed);
    }

    fn acked(&self, client_id: &str) {
        if let Some(index) = self.index(client_id).filter(|_| !self.over.load(Relaxed)) {
            // Of answer and own push the first counts.
            let _ = self.slots[index].acked.compare_exchange(0, self.now(), Relaxed, Relaxed);
        }
    }

    fn seen(&self, client_id: &str, by_visitor: bool) {
        let Some(index) = self.index(client_id).filter(|index| self.dues[*index].by_visitor != by_visitor)
        else {
            return;
        };
        let slot = &self.slots[index];
        let _ = slot.seen.compare_exchange(0, self.now(), Relaxed, Relaxed);
        saturating_add(&slot.times_seen);
    }

    pub fn in_log(&self, client_id: &str, seq: u64) {
        if let Some(index) = self.index(client_id) {
            saturating_add(&self.slots[index].in_log);
            self.slots[index].seq.store(seq, Relaxed);
        }
    }

    pub fn in_database(&self, client_id: &str) {
        if let Some(index) = self.index(client_id) {
            saturating_add(&self.slots[index].in_database);
        }
    }

    /// The stores are read next: what is acknowledged later counts as not acknowledged.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub fn refused(&self, code: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry(code.to_owned()).or_default() += 1;
    }

    fn failed(&self, code: &str) {
        self.refused(code);
        self.failed.fetch_add(1, Relaxed);
    }

    /// How long those events took to the other side that it has and that fit.
    pub fn latency(&self, fits: impl Fn(&Due) -> bool) -> Quantiles {
        let mut latency = Spread::new();
        for (due, slot) in self.dues.iter().zip(&self.slots).filter(|(due, _)| fits(due)) {
            let seen = slot.seen.load(Relaxed);
            if seen > 0 {
                latency.record_ns(seen.saturating_sub(due.at_ns));
            }
        }
        latency.quantiles()
    }

    /// Events that were told to be stored, and events that the other side has.
    pub fn progress(&self) -> (usize, usize) {
        let count = |field: fn(&Slot) -> &AtomicU64| {
            self.slots.iter().filter(|slot| field(slot).load(Relaxed) > 0).count()
        };
        (count(|slot| &slot.acked), count(|slot| &slot.seen))
    }

    /// The sum; `database`: it was asked. Events due before `from_ns` warm the system up and are held to
    /// everything but the latencies.
    pub fn tally(&self, from_ns: u64, database: bool, reordered_at_readers: u64) -> Tally {
        let mut tally = Tally { reordered: reordered_at_readers + self.inversions(), ..Tally::default() };
        let (mut latency, mut ack, mut lag) = (Spread::new(), Spread::new(), Spread::new());
        let mut in_database = 0;
        for (due, slot) in self.dues.iter().zip(&self.slots) {
            let (sent, acked, seen) =
                (slot.sent.load(Relaxed), slot.acked.load(Relaxed), slot.seen.load(Relaxed));
            let (times, log, db) =
                (slot.times_seen.load(Relaxed), slot.in_log.load(Relaxed), slot.in_database.load(Relaxed));
            let stored = log == 1 && (!database || db == 1);
            tally.due += 1;
            tally.sent += u64::from(sent > 0);
            tally.acked += u64::from(acked > 0);
            tally.delivered += u64::from(seen > 0);
            tally.stored_in_log += u64::from(log > 0);
            in_database += u64::from(db > 0);
            tally.counted += u64::from(acked > 0 && times == 1 && stored);
            tally.lost += u64::from(acked > 0 && (seen == 0 || log == 0 || (database && db == 0)));
            tally.doubled += u64::from(times > 1 || log > 1 || db > 1);
            if due.at_ns < from_ns {
                continue;
            }
            for (at, spread) in [(sent, &mut lag), (acked, &mut ack), (seen, &mut latency)] {
                if at > 0 {
                    spread.record_ns(at.saturating_sub(due.at_ns));
                }
            }
        }
        tally.failed = self.failed.load(Relaxed);
        tally.stored_in_database = database.then_some(in_database);
        tally.refused = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (tally.latency, tally.ack, tally.lag) = (latency.quantiles(), ack.quantiles(), lag.quantiles());
        tally
    }

    /// Sends of one side of a pair that are stored in another order than they were sent.
    fn inversions(&self) -> u64 {
        let mut last: BTreeMap<(u32, bool), u64> = BTreeMap::new();
        let mut found = 0;
        for (due, slot) in self.dues.iter().zip(&self.slots) {
            let seq = slot.seq.load(Relaxed);
            if seq > 0 {
                let last = last.entry((due.pair, due.by_visitor)).or_default();
                found += u64::from(seq < *last);
                *last = seq.max(*last);
            }
        }
        found
    }
}

fn saturating_add(count: &AtomicU8) {
    // Never fails: the closure always has an answer.
    let _ = count.fetch_update(Relaxed, Relaxed, |count| Some(count.saturating_add(1)));
}

/// Where clients find the run that is on.
#[derive(Clone, Default)]
pub struct Board(Arc<RwLock<Option<Arc<Ledger>>>>);

impl Board {
    pub fn set(&self, ledger: Option<Arc<Ledger>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// The run that is on.
    pub fn now(&self) -> Option<Arc<Ledger>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with(&self, tell: impl FnOnce(&Ledger)) {
        if let Some(ledger) = self.0.read().unwrap_or_else(PoisonError::into_inner).as_deref() {
            tell(ledger);
        }
    }
}

/// One side's clients, writing into the ledger.
pub struct Ear {
    pub board: Board,
    pub visitor: bool,
}

impl Observer for Ear {
    fn event(&self, _: ConversationId, event: &EventHead<'_>) {
        if let Some(client_id) = event.client_id() {
            self.board.with(|ledger| ledger.seen(client_id, self.visitor));
        }
    }

    fn sent(&self, _: ConversationId, client_id: &str, _: Sent) {
        self.board.with(|ledger| ledger.acked(client_id));
    }

    fn delayed(&self, _: ConversationId, error: &ErrorBody) {
        self.board.with(|ledger| ledger.refused(error.code.name()));
    }

    fn failed(&self, _: ConversationId, _: &str, error: &ErrorBody) {
        self.board.with(|ledger| ledger.failed(error.code.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(events: usize) -> Ledger {
        let dues = (0..events as u64).map(|n| Due { at_ns: n * 1_000, pair: 0, by_visitor: true }).collect();
        Ledger::new(1, Instant::now(), dues)
    }

    fn whole(ledger: &Ledger, index: usize, seq: u64) {
        let name = ledger.client_id(index).as_str().to_owned();
        ledger.sent(index);
        ledger.acked(&name);
        ledger.seen(&name, false);
        ledger.in_log(&name, seq);
        ledger.in_database(&name);
    }

    #[test]
    fn only_what_is_everywhere_exactly_once_counts() {
        let ledger = ledger(6);
        whole(&ledger, 0, 10);
        whole(&ledger, 1, 11);
        ledger.seen("b00000001-1", false);
        whole(&ledger, 2, 12);
        ledger.in_log("b00000001-2", 13);
        // Acknowledged and nowhere.
        ledger.acked("b00000001-3");
        // Stored and delivered, but its sender does not know: not counted, not lost.
        ledger.seen("b00000001-4", false);
        ledger.in_log("b00000001-4", 14);
        let tally = ledger.tally(0, true, 0);
        assert_eq!((tally.due, tally.counted, tally.lost, tally.doubled), (6, 1, 1, 2));
        assert_eq!((tally.delivered, tally.stored_in_log, tally.stored_in_database), (4, 4, Some(3)));
    }

    #[test]
    fn a_senders_own_push_is_no_delivery() {
        let ledger = ledger(1);
        ledger.seen("b00000001-0", true);
        ledger.seen("b00000002-0", false);
        ledger.seen("b00000001-9", false);
        assert_eq!(ledger.tally(0, false, 0).delivered, 0);
    }

    #[test]
    fn the_order_of_a_sender_is_the_order_of_the_log() {
        let ledger = ledger(3);
        for (index, seq) in [(0, 10), (1, 9), (2, 11)] {
            whole(&ledger, index, seq);
        }
        assert_eq!(ledger.tally(0, true, 2).reordered, 3);
    }

    #[test]
    fn warming_up_is_held_to_everything_but_the_latencies() {
        let ledger = ledger(3);
        (0..3).for_each(|index| whole(&ledger, index, 10 + index as u64));
        let tally = ledger.tally(2_000, true, 0);
        assert_eq!((tally.counted, tally.latency.count), (3, 1));
    }
}
