//! What waits to be written to one client, bounded in bytes, and the half of the socket that it goes to.
//!
//! Invariant: what is queued is written whole and in order, or the connection is closed with a code that says
//! reconnect; nothing is dropped from the middle but what a later frame of the same topic says anew, and after a
//! close nothing more is queued. Nobody waits for a client:
//! what its socket does not take stays here.

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
        let ends = frame.ends();
        let pushed = self.queue(frame);
        if ends || pushed == (Pushed::Queued { first: true }) {
            self.ready.notify_one();
        }
        pushed
    }

    /// Likewise the last word on a topic: one that waits is left out.
    pub fn push_latest(&self, topic: Topic, frame: Outgoing) -> Pushed {
        let mut queue = self.lock();
        queue.supersede(topic);
        let pushed = queue.take(frame, Some(topic), self.bytes_max);
        drop(queue);
        if matches!(pushed, Pushed::Queued { first: true } | Pushed::Overflow) {
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
mod tests {
    use super::*;
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    /// As if all were written.
    fn drain(outbox: &Outbox) -> Vec<Outgoing> {
        let mut queue = outbox.lock();
        queue.bytes = 0;
        queue.frames.drain(..).map(|waiting| waiting.frame).collect()
    }

    fn texts(frames: Vec<Outgoing>) -> Vec<String> {
        let text = |frame| match frame {
            Outgoing::Text { shared, own } => String::from_utf8([shared, own].concat()).unwrap(),
            other => panic!("{other:?}"),
        };
        frames.into_iter().map(text).collect()
    }

    fn new(bytes_max: usize) -> Outbox {
        Outbox::new(bytes_max, None)
    }

    async fn pair() -> (Outbox, TcpStream, tokio::net::tcp::OwnedReadHalf) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (incoming, outgoing) = listener.accept().await.unwrap().0.into_split();
        (Outbox::new(0, Some(outgoing)), client, incoming)
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_is_kept_and_goes_out_whole_before_the_close() {
        let (outbox, mut client, incoming) = pair().await;
        let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
        let mut queued = 0_u64;
        while outbox.flush(&mut scratch, &mut wrote) == Flushed::Done {
            outbox.queue(Outgoing::text(vec![b'x'; 60_000]));
            queued += 1;
        }
        assert!(outbox.lock().stuck);
        outbox.close(CloseCode::Evicted);
        let writing = async {
            while outbox.flush(&mut scratch, &mut wrote) == Flushed::Stuck {
                incoming.as_ref().writable().await.unwrap();
            }
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(writing, client.read_to_end(&mut read));
        let close = [&[0x88, 2 + 7][..], &3504_u16.to_be_bytes(), b"evicted"].concat();
        assert_eq!(count.unwrap() as u64, queued * 60_004 + close.len() as u64);
        assert!(read.ends_with(&close), "then the end, and nothing after it");
        assert_eq!((wrote.frames, wrote.bytes), (queued + 1, read.len() as u64));
        assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Over);
    }

    #[tokio::test]
    async fn a_queue_that_is_written_keeps_next_to_no_room() {
        let (outbox, _client, _incoming) = pair().await;
        for _ in 0..20 {
            outbox.push(Outgoing::text("x"));
        }
        assert_eq!(outbox.flush(&mut Vec::new(), &mut Wrote::default()), Flushed::Done);
        assert!(outbox.lock().frames.capacity() <= KEPT_FRAMES);
    }

    #[tokio::test]
    async fn a_ping_goes_before_what_waits_takes_no_room_and_follows_no_close() {
        let (outbox, mut client, _incoming) = pair().await;
        let outbox = Outbox { bytes_max: 600, ..outbox };
        let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
        outbox.ping();
        assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Done);
        assert_eq!((wrote.frames, wrote.bytes), (1, 2), "alone");
        outbox.push(Outgoing::text(vec![b'x'; 400]));
        outbox.ping();
        outbox.ping();
        assert_eq!(outbox.push(Outgoing::text("y")), Pushed::Queued { first: false }, "it fits as before");
        assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Done);
        outbox.close(CloseCode::Evicted);
        outbox.ping();
        assert_eq!(outbox.flush(&mut scratch, &mut wrote), Flushed::Over);
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        let text = [&[0x81, 126, 1, 144][..], &[b'x'; 400], &[0x81, 1, b'y']].concat();
        let close = [&[0x88, 2 + 7][..], &3504_u16.to_be_bytes(), b"evicted"].concat();
        assert_eq!(read, [&frames::PING[..], &frames::PING, &text, &close].concat());
    }

    #[tokio::test]
    async fn a_broken_socket_ends_the_queue() {
        let (outbox, client, _incoming) = pair().await;
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        let (mut scratch, mut wrote) = (Vec::new(), Wrote::default());
        let over = ops::testing::wait_for(std::time::Duration::from_secs(10), "the reset", async || {
            outbox.queue(Outgoing::text("x"));
            outbox.flush(&mut scratch, &mut wrote) == Flushed::Over
        });
        over.await;
        assert_eq!(outbox.queue(Outgoing::text("y")), Pushed::Closed);
    }

    #[test]
    fn a_full_queue_closes_with_slow_consumer_and_nothing_else_follows() {
        let outbox = new(1_000);
        let text = || Outgoing::text(vec![b'x'; 400]);
        assert_eq!(outbox.push(text()), Pushed::Queued { first: true });
        assert_eq!(outbox.push(text()), Pushed::Queued { first: false });
        assert_eq!(outbox.push(text()), Pushed::Overflow);
        assert_eq!(outbox.push(text()), Pushed::Closed);
        outbox.close(CloseCode::Shutdown);
        assert!(matches!(drain(&outbox)[..], [Outgoing::Close(CloseCode::SlowConsumer)]));
        assert_eq!(outbox.closed(), Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn of_a_topic_the_last_word_alone_waits_and_takes_no_more_room() {
        let outbox = new(2_000);
        let (one, other) = (Topic::Person(uuid::Uuid::from_u128(1)), Topic::Person(uuid::Uuid::from_u128(2)));
        outbox.push(Outgoing::text("first"));
        for n in 0..1_000 {
            assert_eq!(
                outbox.push_latest(one, Outgoing::text(format!("one {n}"))),
                Pushed::Queued { first: false }
            );
            outbox.push_latest(other, Outgoing::text(format!("other {n}")));
        }
        outbox.push(Outgoing::text("last"));
        let texts = texts(drain(&outbox));
        assert_eq!(texts, ["first", "one 999", "other 999", "last"]);
        assert_eq!(
            outbox.push_latest(one, Outgoing::text("again")),
            Pushed::Queued { first: true },
            "what went out is out"
        );
    }

    #[test]
    fn what_may_be_lost_is_renewed_where_it_waits() {
        let outbox = new(1_000);
        let topic = Topic::Position(bus_schema::ConversationId::NIL);
        outbox.offer(Some(topic), Outgoing::text("third"));
        outbox.push(Outgoing::text(vec![b'x'; 600]));
        assert_eq!(outbox.offer(None, Outgoing::text("typing")), Pushed::Overflow);
        assert_eq!(outbox.offer(Some(topic), Outgoing::text("second")), Pushed::Queued { first: false });
        let texts = texts(drain(&outbox));
        assert_eq!(texts.last().map(String::as_str), Some("second"));
        assert_eq!(texts.len(), 2);
    }

    #[test]
    fn a_close_waits_for_what_is_queued() {
        let outbox = new(1_000);
        outbox.push(Outgoing::text("a"));
        outbox.close(CloseCode::Evicted);
        assert_eq!(outbox.push(Outgoing::text("b")), Pushed::Closed);
        assert!(matches!(drain(&outbox)[..], [Outgoing::Text { .. }, Outgoing::Close(CloseCode::Evicted)]));
        assert!(drain(&outbox).is_empty());
    }

    #[test]
    fn taking_makes_room() {
        let outbox = new(500);
        for _ in 0..10 {
            assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 400])), Pushed::Queued { first: true });
            assert_eq!(drain(&outbox).len(), 1);
            assert!(drain(&outbox).is_empty());
        }
    }

    #[test]
    fn what_the_socket_did_not_take_counts_and_a_long_answer_fits_an_idle_queue() {
        let outbox = new(500);
        assert_eq!(outbox.push(Outgoing::text(vec![b'x'; 2_000])), Pushed::Queued { first: true });
        assert_eq!(drain(&outbox).len(), 1);
        outbox.lock().rest = Bytes::from(vec![b'x'; 500]);
        assert_eq!(outbox.push(Outgoing::text("y")), Pushed::Overflow);
    }

    #[test]
    fn a_replay_does_not_make_a_client_slow() {
        let outbox = new(500);
        outbox.replay((0..10).map(|_| Outgoing::text(vec![b'x'; 400])));
        assert_eq!(outbox.push(Outgoing::text("live")), Pushed::Queued { first: false });
        assert_eq!(drain(&outbox).len(), 11);
    }

    #[test]
    fn signals_are_the_first_to_go_and_close_nothing() {
        let outbox = new(1_000);
        let text = || Outgoing::text(vec![b'x'; 300]);
        assert_eq!(outbox.offer(None, text()), Pushed::Queued { first: true });
        assert_eq!(outbox.offer(None, text()), Pushed::Overflow);
        assert_eq!(outbox.push(text()), Pushed::Queued { first: false });
        assert_eq!(outbox.closed(), None);
        assert_eq!(drain(&outbox).len(), 2);
    }

    #[tokio::test]
    async fn a_push_wakes_the_writer() {
        let outbox = new(0);
        outbox.push(Outgoing::text("a"));
        outbox.ready().await;
        assert_eq!(drain(&outbox).len(), 1);
    }
}
