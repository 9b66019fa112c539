//! The sending side, and who waits for which answer.
//!
//! Invariant: a request ends once: with its answer, or as lost. One that is made while the connection is away waits for
//! it within its own time, and is sent only if somebody still waits; one that was sent when it broke is lost at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::encode::{self, HeaderBlock};

/// Requests without an answer; more are refused.
const WAITING_MAX: usize = 16_384;
/// Bytes that wait for the server; beyond it requests are refused.
const OUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What servers take until they say otherwise.
const PAYLOAD_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke")]
    Disconnected,
    #[error("nobody answers there")]
    NoResponders,
    #[error("too much is unanswered: nothing was sent")]
    Busy,
    #[error("too large, or not a subject: nothing was sent")]
    Invalid,
}

/// Sends over the connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Wire {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Answers go to this and a token.
    pub inbox: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The connection stands and its owner has subscribed again.
    open: bool,
    out: Vec<u8>,
    /// Requests that wait for the connection.
    queued: VecDeque<(u64, Vec<u8>)>,
    waiting: HashMap<u64, Waiting>,
    next: u64,
    max_payload: usize,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    who: Who,
}

/// Who gets an answer.
#[derive(Debug)]
pub(super) enum Who {
    Task(oneshot::Sender<Result<Bytes, Lost>>),
    /// The connection's owner, by a key of its own.
    Owner(u64),
}

impl Wire {
    pub(super) fn new(inbox: String) -> Self {
        let state = State { max_payload: PAYLOAD_MAX, ..State::default() };
        Self { shared: Arc::new(Shared { inbox, state: Mutex::new(state) }) }
    }

    /// Hears a subject from now on. While the connection is away the owner subscribes when it stands again.
    pub fn subscribe(&self, sid: u64, subject: &str) {
        debug_assert!(encode::is_token(subject));
        self.send(|out| encode::subscribe(out, sid, subject));
    }

    pub fn unsubscribe(&self, sid: u64) {
        self.send(|out| encode::unsubscribe(out, sid));
    }

    /// Whether requests are sent at once.
    pub fn is_open(&self) -> bool {
        self.shared.lock().open
    }

    /// Asks, and waits for the answer. Dropping the future takes nothing back.
    pub async fn request(
        &self,
        subject: &str,
        headers: &HeaderBlock,
        payload: &[u8],
        wait: Duration,
    ) -> Result<Bytes, Lost> {
        let (tell, told) = oneshot::channel();
        self.begin(Who::Task(tell), subject, headers, payload, wait)?;
        told.await.unwrap_or(Err(Lost::Disconnected))
    }

    /// Asks for the connection's owner, who gets the answer under `key`.
    pub fn ask(
        &self,
        key: u64,
        subject: &str,
        headers: &HeaderBlock,
        payload: &[u8],
        wait: Duration,
    ) -> Result<(), Lost> {
        self.begin(Who::Owner(key), subject, headers, payload, wait)
    }

    fn begin(
        &self,
        who: Who,
        subject: &str,
        headers: &HeaderBlock,
        payload: &[u8],
        wait: Duration,
    ) -> Result<(), Lost> {
        let mut state = self.shared.lock();
        if !encode::is_token(subject) || headers.len() + payload.len() > state.max_payload {
            return Err(Lost::Invalid);
        }
        if state.waiting.len() >= WAITING_MAX || state.out.len() > OUT_BYTES_MAX {
            return Err(Lost::Busy);
        }
        let token = state.next;
        state.next += 1;
        state.waiting.insert(token, Waiting { until: Instant::now() + wait, who });
        let reply = Some((self.shared.inbox.as_str(), token));
        if state.open {
            encode::publish(&mut state.out, subject, reply, headers, payload);
            state.wake();
        } else {
            let mut bytes = Vec::new();
            encode::publish(&mut bytes, subject, reply, headers, payload);
            state.queued.push_back((token, bytes));
        }
        Ok(())
    }

    fn send(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.lock();
        if state.open {
            write(&mut state.out);
            state.wake();
        }
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of an answer's subject.
    pub fn token(&self, subject: &[u8]) -> Option<u64> {
        subject.strip_prefix(self.inbox.as_bytes()).and_then(super::parse::decimal)
    }
}

impl State {
    /// The driver sleeps until it is woken.
    pub fn sleep(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Swaps what waits to be sent into an empty buffer.
    pub fn take_out(&mut self, into: &mut Vec<u8>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.out, into);
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The owner has subscribed again: what waited for the connection goes out.
    pub fn open(&mut self) {
        self.open = true;
        for (token, bytes) in std::mem::take(&mut self.queued) {
            if self.waiting.contains_key(&token) {
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    pub fn set_max_payload(&mut self, bytes: usize) {
        if bytes > 0 {
            self.max_payload = bytes;
        }
    }

    /// Who waits for this answer, if anybody still does.
    pub fn answered(&mut self, token: u64) -> Option<Who> {
        self.waiting.remove(&token).map(|waiting| waiting.who)
    }

    /// The connection broke: what was sent has an unknown end.
    pub fn broken(&mut self, lost: &mut VecDeque<(u64, Lost)>) {
        self.open = false;
        self.out.clear();
        let kept: Vec<u64> = self.queued.iter().map(|(token, _)| *token).collect();
        self.end(lost, Lost::Disconnected, |token, _| !kept.contains(&token));
    }

    /// Ends what waited for too long.
    pub fn expire(&mut self, now: Instant, lost: &mut VecDeque<(u64, Lost)>) {
        self.end(lost, Lost::TimedOut, |_, waiting| waiting.until <= now);
        let waiting = &self.waiting;
        self.queued.retain(|(token, _)| waiting.contains_key(token));
    }

    fn end(
        &mut self,
        lost: &mut VecDeque<(u64, Lost)>,
        why: Lost,
        mut is_over: impl FnMut(u64, &Waiting) -> bool,
    ) {
        for (_, waiting) in self.waiting.extract_if(|token, waiting| is_over(*token, waiting)) {
            match waiting.who {
                // Whoever asked may be gone.
                Who::Task(tell) => drop(tell.send(Err(why))),
                Who::Owner(key) => lost.push_back((key, why)),
            }
        }
    }
}
