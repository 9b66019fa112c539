//! What waits to be written to a client, bounded in bytes.
//!
//! Invariant: nothing is ever dropped from the middle: a queue that would pass its bound is emptied, and the
//! connection is closed with `slow_consumer`, so that the client resumes. After a close nothing more is queued.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bus_schema::close::CloseCode;
use bytes::Bytes;
use tokio::sync::Notify;

/// What a queued frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

/// A frame to be written.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A text frame in two parts: what all readers of a feed share, and what is this connection's own.
    Text {
        shared: Bytes,
        own: Bytes,
    },
    Pong(Bytes),
    /// The client's own close frame, sent back.
    CloseEcho(Bytes),
    Close(CloseCode),
}

impl Outgoing {
    pub fn text(whole: impl Into<Bytes>) -> Self {
        Self::Text { shared: whole.into(), own: Bytes::new() }
    }

    /// The same text, with something that is kept until it was written or given up.
    pub fn keeping<T: Send + 'static>(self, kept: T) -> Self {
        match self {
            Self::Text { shared, own } => {
                Self::Text { shared: Bytes::from_owner(Kept { bytes: shared, _kept: kept }), own }
            }
            other => other,
        }
    }

    fn cost(&self) -> usize {
        FRAME_OVERHEAD
            + match self {
                Outgoing::Text { shared, own } => shared.len() + own.len(),
                Outgoing::Pong(bytes) | Outgoing::CloseEcho(bytes) => bytes.len(),
                Outgoing::Close(_) => 0,
            }
    }

    const fn ends(&self) -> bool {
        matches!(self, Outgoing::CloseEcho(_) | Outgoing::Close(_))
    }
}

/// Bytes that hold on to something.
struct Kept<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Kept<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whether a frame was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    /// The client is too slow: the connection is being closed, or what may be lost was lost.
    Overflow,
    /// It was closed before.
    Closed,
}

/// The queue between those who deliver and the task that writes.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    ready: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: Vec<Outgoing>,
    /// Of `frames`.
    bytes: usize,
    /// Of what the writer took and has not yet written.
    taken: usize,
    closed: Option<CloseCode>,
    ended: bool,
}

impl Outbox {
    /// `bytes_max` 0 means no bound.
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = if bytes_max == 0 { usize::MAX } else { bytes_max };
        Self { queue: Mutex::default(), ready: Notify::new(), bytes_max }
    }

    pub fn push(&self, frame: Outgoing) -> Pushed {
        let mut queue = self.lock();
        if queue.ended {
            return Pushed::Closed;
        }
        let cost = frame.cost();
        // A frame for a client that has read everything always fits: a long answer must be possible.
        let waiting = queue.bytes + queue.taken;
        if waiting > 0 && waiting.saturating_add(cost) > self.bytes_max && !frame.ends() {
            queue.close(CloseCode::SlowConsumer);
            drop(queue);
            self.ready.notify_one();
            return Pushed::Overflow;
        }
        queue.bytes += cost;
        queue.ended = frame.ends();
        if let Outgoing::Close(code) = &frame {
            queue.closed = Some(*code);
        }
        let was_empty = queue.frames.is_empty();
        queue.frames.push(frame);
        drop(queue);
        if was_empty {
            self.ready.notify_one();
        }
        Pushed::Queued
    }

    /// Queues what may be lost: a queue that is half full takes none of it, so that it is the first to go.
    pub fn offer(&self, frame: Outgoing) -> Pushed {
        let mut queue = self.lock();
        if queue.ended {
            return Pushed::Closed;
        }
        let cost = frame.cost();
        if (queue.bytes + queue.taken).saturating_add(cost) > self.bytes_max / 2 {
            return Pushed::Overflow;
        }
        queue.bytes += cost;
        let was_empty = queue.frames.is_empty();
        queue.frames.push(frame);
        drop(queue);
        if was_empty {
            self.ready.notify_one();
        }
        Pushed::Queued
    }

    /// Queues what a client missed, beside the bound: it is bounded by who read it, and a client that catches up is
    /// not slow for that.
    pub fn replay(&self, frames: impl IntoIterator<Item = Outgoing>) {
        let mut queue = self.lock();
        if !queue.ended {
            queue.frames.extend(frames);
        }
        drop(queue);
        self.ready.notify_one();
    }

    /// Closes after what is queued has been written.
    pub fn close(&self, code: CloseCode) {
        self.push(Outgoing::Close(code));
    }

    /// Takes all that waits, and counts what was taken before as written; `into` comes and may go empty.
    pub fn take(&self, into: &mut Vec<Outgoing>) {
        let mut queue = self.lock();
        std::mem::swap(&mut queue.frames, into);
        queue.taken = std::mem::take(&mut queue.bytes);
    }

    /// Resolves when there may be something to take.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Nothing can be sent any more, the writer is gone.
    pub fn end(&self) {
        let mut queue = self.lock();
        queue.ended = true;
        queue.frames = Vec::new();
    }

    /// With which code the server closed, if it did.
    pub fn closed(&self) -> Option<CloseCode> {
        self.lock().closed
    }

    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves the queue whole, so a panic elsewhere cannot leave it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn close(&mut self, code: CloseCode) {
        self.frames.clear();
        self.frames.push(Outgoing::Close(code));
        self.bytes = 0;
        self.closed = Some(code);
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &Outbox) -> Vec<Outgoing> {
        let mut out = Vec::new();
        outbox.take(&mut out);
        out
    }

    #[test]
    fn a_full_queue_closes_with_slow_consumer_and_nothing_else_follows() {
        let outbox = Outbox::new(1_000);
        let text = || Outgoing::text(vec![b'x'; 400]);
        assert_eq!(outbox.push(text()), Pushed::Queued);
        assert_eq!(outbox.push(text()), Pushed::Queued);
        assert_eq!(outbox.push(text()), Pushed::Overflow);
        assert_eq!(outbox.push(text()), Pushed::Closed);
        outbox.close(CloseCode::Shutdown);
        assert!(matches!(drain(&outbox)[..], [Outgoing::Close(CloseCode::SlowConsumer)]));
        assert_eq!(outbox.closed(), Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn a_close_waits_for_what_is_queued() {
        let outbox = Outbox::new(1_000);
        outbox.push(Outgoing::text("a"));
        outbox.close(CloseCode::Evicted);
        assert_eq!(outbox.push(Outgoing::text("b")), Pushed::Closed);
        assert!(matches!(drain(&outbox)[..], [Outgoing::Text { .. }, Outgoing::Close(CloseCode::Evicted)]));
        assert!(drain(&outbox).is_empty());
    }

    #[test]
    fn taking_makes_room() {
        let outbox = Outbox::new(500);
        for _ in 0..10 {
            assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 400])), Pushed::Queued);
            assert_eq!(drain(&outbox).len(), 1);
            assert!(drain(&outbox).is_empty());
        }
    }

    #[test]
    fn what_is_being_written_counts_and_a_long_answer_fits_an_idle_queue() {
        let outbox = Outbox::new(500);
        assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 2_000])), Pushed::Queued);
        assert_eq!(drain(&outbox).len(), 1);
        assert_eq!(outbox.push(Outgoing::text("y")), Pushed::Overflow);
    }

    #[test]
    fn a_replay_does_not_make_a_client_slow() {
        let outbox = Outbox::new(500);
        outbox.replay((0..10).map(|_| Outgoing::text(vec![b'x'; 400])));
        assert_eq!(outbox.push(Outgoing::text("live")), Pushed::Queued);
        assert_eq!(drain(&outbox).len(), 11);
    }

    #[test]
    fn signals_are_the_first_to_go_and_close_nothing() {
        let outbox = Outbox::new(1_000);
        let text = || Outgoing::text(vec![b'x'; 300]);
        assert_eq!(outbox.offer(text()), Pushed::Queued);
        assert_eq!(outbox.offer(text()), Pushed::Overflow);
        assert_eq!(outbox.push(text()), Pushed::Queued);
        assert_eq!(outbox.closed(), None);
        assert_eq!(drain(&outbox).len(), 2);
    }

    #[tokio::test]
    async fn a_push_wakes_the_writer() {
        let outbox = Outbox::new(0);
        outbox.push(Outgoing::text("a"));
        outbox.ready().await;
        assert_eq!(drain(&outbox).len(), 1);
    }
}
