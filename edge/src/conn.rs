//! One client's connection, as the parts that write to it see it.
//!
//! Invariant: every request is answered exactly once; a reply that is dropped unanswered answers `internal`.

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use bus_schema::{
    ErrorBody, ErrorCode, Timestamp,
    protocol::{Action, ErrorPayload, Push, Response},
};
use serde::Serialize;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{
    metrics::{Limit, Measures},
    socket::{Flushed, Outbox, Outgoing, Pushed, Topic, Wrote},
};

/// Missed events that one connection gets replayed, over all its conversations; the rest are reset.
const REPLAY_BYTES_MAX: usize = 8 * 1024 * 1024;

thread_local! {
    /// Frames are put together here, so that no connection keeps room for it.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::default();
}

#[derive(Debug)]
pub struct Conn {
    /// Unique within this process.
    pub id: u64,
    pub outbox: Outbox,
    /// The socket is done with, whichever side ended it.
    is_gone: AtomicBool,
    gone: Notify,
    /// End of the token in milliseconds since 1970; 0: not logged in.
    token_ends: AtomicI64,
    in_flight: AtomicUsize,
    /// Bytes of missed events replayed so far.
    replayed: AtomicUsize,
    left: AtomicBool,
    met: Mutex<HashSet<Uuid>>,
    measures: Arc<Measures>,
}

impl Conn {
    pub fn new(id: u64, outbox: Outbox, measures: Arc<Measures>) -> Arc<Self> {
        Arc::new(Self {
            id,
            outbox,
            is_gone: AtomicBool::new(false),
            gone: Notify::new(),
            token_ends: AtomicI64::new(0),
            in_flight: AtomicUsize::new(0),
            replayed: AtomicUsize::new(0),
            left: AtomicBool::new(false),
            met: Mutex::default(),
            measures,
        })
    }

    /// Says something unasked.
    pub fn push<T: Serialize>(&self, action: &'static str, payload: T) {
        self.outbox.push(Outgoing::text(json(&Push::new(action, payload))));
    }

    /// Says the last word on a topic: what waits of it to be said is left out.
    pub fn push_latest<T: Serialize>(&self, topic: Topic, action: &'static str, payload: T) {
        self.outbox.push_latest(topic, Outgoing::text(json(&Push::new(action, payload))));
    }

    /// Writes what waits, as much as the socket takes.
    pub fn flush(&self) -> Flushed {
        let mut wrote = Wrote::default();
        let flushed = SCRATCH.with_borrow_mut(|scratch| self.outbox.flush(scratch, &mut wrote));
        if wrote != Wrote::default() {
            self.measures.frames_out.increment(wrote.frames);
            self.measures.bytes_out.increment(wrote.bytes);
            self.measures.writes.increment(wrote.writes);
        }
        flushed
    }

    /// Nobody writes to it any more.
    pub fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.gone.notify_waiters();
    }

    /// Resolves once it is gone.
    pub async fn gone(&self) {
        let told = self.gone.notified();
        if !self.is_gone.load(Ordering::Acquire) {
            told.await;
        }
    }

    pub fn push_error(&self, error: ErrorBody) {
        self.push("error", ErrorPayload { error });
    }

    /// Whether this author is new to the connection, who is not any more.
    pub fn meets(&self, author: Uuid) -> bool {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(author)
    }

    /// Whether the connection was told who this is.
    pub fn has_met(&self, person: Uuid) -> bool {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).contains(&person)
    }

    /// Begins a request, unless `most` are unanswered.
    pub fn begin(self: &Arc<Self>, request_id: &str, action: Action, most: usize) -> (Reply, bool) {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let reply = Reply {
            conn: self.clone(),
            request_id: request_id.to_owned(),
            action,
            began: Instant::now(),
            answered: false,
        };
        (reply, before < most)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether so many more bytes may be replayed on this connection, which are counted if they may.
    pub fn may_replay(&self, bytes: usize) -> bool {
        let with = |before: usize| before.checked_add(bytes).filter(|sum| *sum <= REPLAY_BYTES_MAX);
        self.replayed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    /// Nobody reads from it any more: it joins nothing from now on.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    pub fn set_token_end(&self, end: Timestamp) {
        self.token_ends.store(end.millis(), Ordering::Relaxed);
    }

    pub fn token_end(&self) -> Option<Timestamp> {
        match self.token_ends.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }
}

/// The right and duty to answer one request.
#[derive(Debug)]
pub struct Reply {
    pub conn: Arc<Conn>,
    request_id: String,
    action: Action,
    began: Instant,
    answered: bool,
}

impl Reply {
    pub fn ok<T: Serialize>(mut self, payload: &T) {
        self.answered = true;
        let frame = json(&Response::ok(&self.request_id, self.action.name(), payload));
        self.conn.outbox.push(Outgoing::text(frame));
        self.measure(None);
    }

    pub fn fail(mut self, error: ErrorBody) {
        self.refuse(error);
    }

    /// Refuses because there is too much of it.
    pub fn limited(self, limit: Limit, error: ErrorBody) {
        self.conn.measures.limited(limit);
        self.fail(error);
    }

    /// Answers without waking the connection's task; whoever gets the connection back flushes it soon.
    pub fn queue<T: Serialize>(mut self, result: Result<T, ErrorBody>) -> Option<Arc<Conn>> {
        self.answered = true;
        let (frame, code) = match result {
            Ok(payload) => (json(&Response::ok(&self.request_id, self.action.name(), &payload)), None),
            Err(error) => {
                let code = error.code;
                (json(&Response::failed(&self.request_id, self.action.name(), error)), Some(code))
            }
        };
        let pushed = self.conn.outbox.queue(Outgoing::text(frame));
        self.measure(code);
        (pushed == Pushed::Queued { first: true }).then(|| self.conn.clone())
    }

    pub fn with<T: Serialize>(self, result: Result<T, ErrorBody>) {
        match result {
            Ok(payload) => self.ok(&payload),
            Err(error) => self.fail(error),
        }
    }

    fn refuse(&mut self, error: ErrorBody) {
        self.answered = true;
        let code = error.code;
        let frame = json(&Response::failed(&self.request_id, self.action.name(), error));
        self.conn.outbox.push(Outgoing::text(frame));
        self.measure(Some(code));
    }

    fn measure(&self, error: Option<ErrorCode>) {
        let measures = &self.conn.measures;
        measures.answered(self.action, error);
        let seconds = match self.action {
            Action::SendEvent => &measures.send_seconds,
            _ => &measures.other_seconds,
        };
        seconds.record(self.began.elapsed());
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            self.refuse(ErrorCode::Internal.into());
        }
        self.conn.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("frames hold only strings, numbers and string-keyed maps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_that_is_refused_takes_nothing_from_what_others_may_have() {
        let conn = Conn::new(1, Outbox::new(0, None), Arc::new(Measures::new()));
        assert!(conn.may_replay(REPLAY_BYTES_MAX - 10));
        assert!(!conn.may_replay(11));
        assert!(!conn.may_replay(usize::MAX));
        assert!(conn.may_replay(10), "the shorter one still fits");
        assert!(!conn.may_replay(1));
    }
}
