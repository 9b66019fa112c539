//! What waits to be written to one client, bounded in bytes, and the half of the socket that it goes to.
//!
//! Invariant: what is queued is written whole and in order, or the connection is closed with a code that says
//! reconnect; nothing is dropped from the middle but what a later frame of the same topic says anew, and after a
//! close nothing more is queued. Nobody waits for a client: what its socket does not take stays here.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bus_schema::close::CloseCode;
use bytes::{Buf as _, Bytes};
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

use super::{
    Outgoing, Topic,
    frames::{self, encode},
};

/// Frames are put together for one write until they are so long.
const WRITE_BYTES: usize = 64 * 1024;
/// Frames for which an empty queue keeps room: most clients are told one thing at a time, and then nothing for long.
const KEPT_FRAMES: usize = 1;
/// Larger scratch space is given back after use.
const KEPT_BYTES: usize = 256 * 1024;

/// Whether a frame was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// `first`: nothing waited before it, so somebody has to flush.
    Queued { first: bool },
    /// The client is too slow: the connection is being closed, or what may be lost was lost.
    Overflow,
    /// It was closed before.
    Closed,
}

/// How far a flush came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    Done,
    /// The socket takes no more now.
    Stuck,
    /// Nothing can be written any more: a close frame went out, or the socket is broken.
    Over,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrote {
    pub frames: u64,
    pub bytes: u64,
    pub writes: u64,
}

/// The queue between those who deliver, the hub's workers and the connection's task, and the socket.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    ready: Notify,
    bytes_max: usize,
}

/// A frame with what it counts against the bound.
#[derive(Debug)]
struct Waiting {
    frame: Outgoing,
    cost: usize,
    /// Few frames have one, and what waits is kept small.
    topic: Option<Box<Topic>>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Waiting>,
    /// Of `frames`.
    bytes: usize,
    /// A ping is to be written, before `frames`.
    pings: bool,
    /// Encoded, and not yet taken by the socket.
    rest: Bytes,
    closed: Option<CloseCode>,
    ended: bool,
    /// The last frame was encoded.
    ending: bool,
    over: bool,
    stuck: bool,
    socket: Option<OwnedWriteHalf>,
}

impl Outbox {
    /// `bytes_max` 0 means no bound.
    pub fn new(bytes_max: usize, socket: Option<OwnedWriteHalf>) -> Self {
        let bytes_max = if bytes_max == 0 { usize::MAX } else { bytes_max };
        Self { queue: Mutex::new(Queue { socket, ..Queue::default() }), ready: Notify::new(), bytes_max }
    }

    /// Queues a frame, and has the connection's task write it.
    pub fn push(&self, frame: Outgoing) -> Pushed {
        self.put(None, frame)
    }

    /// Likewise the last word on a topic: one that waits is left out.
    pub fn push_latest(&self, topic: Topic, frame: Outgoing) -> Pushed {
        self.put(Some(topic), frame)
    }

    fn put(&self, topic: Option<Topic>, frame: Outgoing) -> Pushed {
        let ends = frame.ends();
        let mut queue = self.lock();
        if let Some(topic) = topic {
            queue.supersede(topic);
        }
        let pushed = queue.take(frame, topic, self.bytes_max);
        drop(queue);
        if ends || matches!(pushed, Pushed::Queued { first: true } | Pushed::Overflow) {
            self.ready.notify_one();
        }
        pushed
    }

    /// Queues a frame for a caller who flushes soon.
    pub fn queue(&self, frame: Outgoing) -> Pushed {
        let pushed = self.lock().take(frame, None, self.bytes_max);
        if pushed == Pushed::Overflow {
            self.ready.notify_one();
        }
        pushed
    }

    /// Queues what may be lost: a queue that is half full takes none of it, so that it is the first to go. Of a topic
    /// the last word is kept, and what waits is left out for it.
    pub fn offer(&self, topic: Option<Topic>, frame: Outgoing) -> Pushed {
        let mut queue = self.lock();
        if queue.ended {
            return Pushed::Closed;
        }
        let replaced = topic.is_some_and(|topic| queue.supersede(topic));
        if !replaced && queue.waiting().saturating_add(frame.cost()) > self.bytes_max / 2 {
            return Pushed::Overflow;
        }
        let first = queue.add(frame, topic);
        drop(queue);
        if first {
            self.ready.notify_one();
        }
        Pushed::Queued { first }
    }

    /// Queues what a client missed, beside the bound: it is bounded by who read it, and a client that catches up is
    /// not slow for that.
    pub fn replay(&self, frames: impl IntoIterator<Item = Outgoing>) {
        let mut queue = self.lock();
        if !queue.ended {
            queue.frames.extend(frames.into_iter().map(Waiting::free));
        }
        drop(queue);
        self.ready.notify_one();
    }

    /// Asks the client for a sign of life; the caller flushes soon. It goes before what is queued and counts for nothing,
    /// so that it cannot be what makes a client slow.
    pub fn ping(&self) {
        let mut queue = self.lock();
        queue.pings = !queue.ended;
    }

    /// Closes after what is queued has been written.
    pub fn close(&self, code: CloseCode) {
        self.push(Outgoing::Close(code));
    }

    /// Resolves when there may be something to write.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Writes what waits, as much as the socket takes. `scratch` is the caller's, so that a connection keeps none.
    pub fn flush(&self, scratch: &mut Vec<u8>, wrote: &mut Wrote) -> Flushed {
        let mut queue = self.lock();
        let was_stuck = queue.stuck;
        let flushed = queue.flush(scratch, wrote);
        drop(queue);
        scratch.clear();
        scratch.shrink_to(KEPT_BYTES);
        if flushed == Flushed::Stuck && !was_stuck {
            // The connection's task waits until the socket takes more.
            self.ready.notify_one();
        }
        flushed
    }

    /// Nothing can be sent any more; the sending half of the socket is shut down.
    pub fn end(&self) {
        self.lock().abandon();
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

impl Waiting {
    /// Beside the bound.
    const fn free(frame: Outgoing) -> Self {
        Self { frame, cost: 0, topic: None }
    }
}

impl Queue {
    /// What counts against the bound.
    fn waiting(&self) -> usize {
        self.bytes + self.rest.len()
    }

    fn take(&mut self, frame: Outgoing, topic: Option<Topic>, bytes_max: usize) -> Pushed {
        if self.ended {
            return Pushed::Closed;
        }
        let waiting = self.waiting();
        // A frame for a client that has read everything always fits: a long answer must be possible.
        if waiting > 0 && waiting.saturating_add(frame.cost()) > bytes_max && !frame.ends() {
            self.close(CloseCode::SlowConsumer);
            return Pushed::Overflow;
        }
        self.ended = frame.ends();
        if let Outgoing::Close(code) = &frame {
            self.closed = Some(*code);
        }
        Pushed::Queued { first: self.add(frame, topic) }
    }

    /// Whether it is the first that waits.
    fn add(&mut self, frame: Outgoing, topic: Option<Topic>) -> bool {
        let (first, cost) = (self.frames.is_empty(), frame.cost());
        self.frames.push_back(Waiting { frame, cost, topic: topic.map(Box::new) });
        self.bytes += cost;
        first
    }

    /// Leaves out what waits of the topic; whether something did. At most one does.
    fn supersede(&mut self, topic: Topic) -> bool {
        let is_it = |waiting: &Waiting| waiting.topic.as_deref() == Some(&topic);
        let Some(at) = self.frames.iter().rposition(is_it) else { return false };
        let left_out = self.frames.remove(at).map_or(0, |waiting| waiting.cost);
        self.bytes -= left_out;
        true
    }

    /// What waits is given up for a close; a frame that is half written is written to its end.
    fn close(&mut self, code: CloseCode) {
        self.frames.clear();
        self.frames.push_back(Waiting::free(Outgoing::Close(code)));
        (self.bytes, self.pings) = (0, false);
        self.closed = Some(code);
        self.ended = true;
    }

    fn abandon(&mut self) {
        (self.ended, self.over, self.bytes) = (true, true, 0);
        (self.frames, self.rest, self.socket) = (VecDeque::new(), Bytes::new(), None);
    }

    fn flush(&mut self, scratch: &mut Vec<u8>, wrote: &mut Wrote) -> Flushed {
        loop {
            if self.over {
                return Flushed::Over;
            }
            if self.rest.is_empty() && self.frames.is_empty() && !self.pings {
                self.stuck = false;
                return Flushed::Done;
            }
            let result = if self.rest.is_empty() {
                self.encode(scratch, wrote);
                self.write(scratch)
            } else {
                self.write(&self.rest)
            };
            let count = match result {
                Ok(count) => {
                    wrote.bytes += count as u64;
                    wrote.writes += 1;
                    count
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    self.abandon();
                    return Flushed::Over;
                }
            };
            if self.rest.is_empty() {
                self.rest = Bytes::copy_from_slice(&scratch[count..]);
            } else {
                self.rest.advance(count);
            }
            if !self.rest.is_empty() {
                self.stuck = true;
                return Flushed::Stuck;
            }
            if self.ending {
                // Nothing follows a close frame but the end of the stream.
                self.abandon();
            }
        }
    }

    /// The next frames, for one write.
    fn encode(&mut self, out: &mut Vec<u8>, wrote: &mut Wrote) {
        out.clear();
        if std::mem::take(&mut self.pings) {
            out.extend_from_slice(&frames::PING);
            wrote.frames += 1;
        }
        while out.len() < WRITE_BYTES
            && let Some(Waiting { frame, cost, .. }) = self.frames.pop_front()
        {
            self.bytes -= cost;
            self.ending = frame.ends();
            wrote.frames += 1;
            encode(out, &frame);
        }
        if self.frames.is_empty() {
            self.frames.shrink_to(KEPT_FRAMES);
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.as_ref().ok_or(io::ErrorKind::BrokenPipe)?.try_write(bytes)
    }
}

#[cfg(test)]
mod tests;
