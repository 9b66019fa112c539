//! The connection itself: read and written by its one owner, in the owner's task.
//!
//! Invariant: [`Driver::ready`] may be dropped at any time and loses nothing; after the connection broke, nothing that
//! was queued goes out before the owner has taken [`Incoming::Connected`] and subscribed again.

use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use metrics::{Counter, counter};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::Instant,
};

use super::{
    Lost, Wire,
    answers::Who,
    encode,
    headers::{Headers, status},
    hello::{self, Made},
    parse::{self, Op},
    server::Io,
};
use crate::{
    metrics::{Metric, counter as counter_of},
    nats::Bus,
};

const READ_BYTES: usize = 64 * 1024;
/// Larger buffers are given back once they are empty.
const KEPT_BYTES: usize = 1024 * 1024;
/// Silence of the server after which it is asked whether it is there, and the same again until it is given up.
const PING_AFTER: Duration = Duration::from_secs(5);
/// The inbox's own subscription; those of the owner come after it.
const INBOX_SID: u64 = 0;
/// The first sid that an owner may use.
pub const FIRST_SID: u64 = 1;
const NO_RESPONDERS: u16 = 503;

const CONNECTS: &str = "chatbus_nats_wire_connects_total";
pub(super) const METRICS: &[Metric] =
    &[counter_of(CONNECTS, "Connections for live copies and writes that were made.")];

/// What the owner must act on.
#[derive(Debug)]
pub enum Incoming<'a> {
    Message(Message<'a>),
    /// The end of a request made with [`Wire::ask`].
    Answer {
        key: u64,
        result: Result<&'a [u8], Lost>,
    },
    /// The connection stands, for the first time or again: copies may have been lost since it last did. The owner
    /// subscribes with [`Driver::subscribe`] to all it wants before it asks for anything.
    Connected,
}

/// A copy of what was published.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub sid: u64,
    pub subject: &'a str,
    pub headers: Headers<'a>,
    pub payload: &'a [u8],
}

pub struct Driver {
    wire: Wire,
    bus: Bus,
    link: Link,
    buffer: Vec<u8>,
    /// What of `buffer` is not read yet.
    unread: Range<usize>,
    writing: Vec<u8>,
    written: usize,
    /// Ends of the owner's requests without an answer.
    lost: VecDeque<(u64, Lost)>,
    /// The owner does not know yet that the connection stands.
    untold: bool,
    heard_at: Instant,
    pinged: bool,
    connects: Counter,
}

enum Link {
    Making(BoxFuture<'static, Made>),
    Up { io: Box<dyn Io>, known: Vec<async_nats::ServerAddr> },
}

/// What an operation came to, inside.
enum Step {
    Message { sid: u64, subject: Range<usize>, headers: Range<usize>, payload: Range<usize> },
    Answer { key: u64, result: Result<Range<usize>, Lost> },
}

impl Driver {
    /// A connection of its own to where `bus` is connected, as the same user; it is made with the first `ready`.
    pub fn new(bus: &Bus) -> Self {
        crate::metrics::describe(METRICS);
        let inbox = format!("{}.{}.", bus.inbox, uuid::Uuid::now_v7().simple());
        Self {
            wire: Wire::new(inbox),
            link: Link::Making(Self::make(bus, hello::servers(&bus.options.url), 0)),
            bus: bus.clone(),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            writing: Vec::new(),
            written: 0,
            lost: VecDeque::new(),
            untold: false,
            heard_at: Instant::now(),
            pinged: false,
            connects: counter!(CONNECTS),
        }
    }

    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Sends what waits, and resolves when there is something to take with `take`.
    pub async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// Subscribes on a connection that is new, ahead of all that waits for it.
    pub fn subscribe(&mut self, sid: u64, subject: &str) {
        encode::subscribe(&mut self.writing, sid, subject);
    }

    /// Ends requests whose time is over, and looks whether the server is there; to be called every second or so.
    pub fn tick(&mut self, now: Instant) {
        self.wire.shared.lock().expire(now, &mut self.lost);
        let silent = now.saturating_duration_since(self.heard_at);
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        if silent > PING_AFTER * 2 && self.pinged {
            self.down("the server is silent");
        } else if silent > PING_AFTER && !self.pinged {
            self.pinged = true;
            self.writing.extend_from_slice(b"PING\r\n");
        }
    }

    /// The next thing that came. Not a part of `ready`, so that the owner takes many at once.
    pub fn take(&mut self) -> Option<Incoming<'_>> {
        if self.untold {
            self.untold = false;
            return Some(Incoming::Connected);
        }
        match self.step()? {
            Step::Answer { key, result } => {
                let result = result.map(|payload| &self.buffer[payload]);
                Some(Incoming::Answer { key, result })
            }
            Step::Message { sid, subject, headers, payload } => Some(Incoming::Message(Message {
                sid,
                // Subjects of ours are ASCII; another's is nothing that anybody here waits for.
                subject: std::str::from_utf8(&self.buffer[subject]).unwrap_or(""),
                headers: Headers(&self.buffer[headers]),
                payload: &self.buffer[payload],
            })),
        }
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some((key, why)) = self.lost.pop_front() {
                return Some(Step::Answer { key, result: Err(why) });
            }
            let begin = self.unread.start;
            let (op, length) = match parse::next(&self.buffer[self.unread.clone()]) {
                Ok(found) => found?,
                Err(garbled) => {
                    self.down(&garbled.to_string());
                    continue;
                }
            };
            self.unread.start += length;
            let moved = |range: Range<usize>| begin + range.start..begin + range.end;
            match op {
                Op::Message { sid: INBOX_SID, subject, headers, payload } => {
                    if let Some(step) = self.answer(moved(subject), moved(headers), moved(payload)) {
                        return Some(step);
                    }
                }
                Op::Message { sid, subject, headers, payload } => {
                    let (subject, headers, payload) = (moved(subject), moved(headers), moved(payload));
                    return Some(Step::Message { sid, subject, headers, payload });
                }
                Op::Ping => self.writing.extend_from_slice(b"PONG\r\n"),
                Op::Error(range) => {
                    let text = String::from_utf8_lossy(&self.buffer[moved(range)]).trim().to_owned();
                    tracing::error!(error = text, "the bus refused something");
                }
                Op::Pong | Op::Ok | Op::Info(_) => {}
            }
        }
    }

    fn answer(
        &mut self,
        subject: Range<usize>,
        headers: Range<usize>,
        payload: Range<usize>,
    ) -> Option<Step> {
        let shared = &self.wire.shared;
        let token = shared.token(&self.buffer[subject])?;
        let who = shared.lock().answered(token)?;
        let nobody = status(Headers(&self.buffer[headers])) == Some(NO_RESPONDERS);
        match who {
            Who::Owner(key) => {
                let result = if nobody { Err(Lost::NoResponders) } else { Ok(payload) };
                Some(Step::Answer { key, result })
            }
            Who::Task(tell) => {
                let payload = Bytes::copy_from_slice(&self.buffer[payload]);
                // Whoever asked may be gone.
                let _ = tell.send(if nobody { Err(Lost::NoResponders) } else { Ok(payload) });
                None
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Link::Making(making) = &mut self.link {
            let made = ready!(making.as_mut().poll(cx));
            self.up(made);
            return Poll::Ready(());
        }
        if self.untold || !self.lost.is_empty() {
            return Poll::Ready(());
        }
        if let Err(error) = self.poll_write(cx) {
            self.down(&error.to_string());
            return Poll::Ready(());
        }
        match ready!(self.poll_read(cx)) {
            Ok(()) => (self.heard_at, self.pinged) = (Instant::now(), false),
            Err(error) => self.down(&error.to_string()),
        }
        Poll::Ready(())
    }

    /// Writes as much as goes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        let Link::Up { io, .. } = &mut self.link else { return Ok(()) };
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                if self.writing.capacity() > KEPT_BYTES {
                    self.writing = Vec::new();
                }
                let mut state = self.wire.shared.lock();
                state.sleep(cx.waker());
                if !state.is_open() {
                    state.open();
                }
                state.take_out(&mut self.writing);
                if self.writing.is_empty() {
                    drop(state);
                    // For streams that buffer; what is not flushed yet is flushed by a later turn.
                    return match Pin::new(io).poll_flush(cx) {
                        Poll::Ready(flushed) => flushed,
                        Poll::Pending => Ok(()),
                    };
                }
            }
            match Pin::new(&mut *io).poll_write(cx, &self.writing[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Link::Up { io, .. } = &mut self.link else { return Poll::Pending };
        if self.unread.is_empty() {
            self.unread = 0..0;
            if self.buffer.len() > KEPT_BYTES {
                self.buffer = vec![0; READ_BYTES];
            }
        }
        if self.unread.start > 0 && self.buffer.len() - self.unread.end < READ_BYTES / 4 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            // One message that is larger: the parser bounds it.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let mut space = ReadBuf::new(&mut self.buffer[self.unread.end..]);
        ready!(Pin::new(io).poll_read(cx, &mut space))?;
        match space.filled().len() {
            0 => Poll::Ready(Err(std::io::ErrorKind::UnexpectedEof.into())),
            count => {
                self.unread.end += count;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn up(&mut self, made: Made) {
        self.connects.increment(1);
        let Made { io, early, max_payload, known } = made;
        self.buffer.truncate(0);
        self.buffer.extend_from_slice(&early);
        self.unread = 0..early.len();
        self.buffer.resize(READ_BYTES.max(early.len()), 0);
        self.writing.clear();
        self.written = 0;
        encode::subscribe(&mut self.writing, INBOX_SID, &format!("{}*", self.wire.shared.inbox));
        self.wire.shared.lock().set_max_payload(max_payload);
        (self.heard_at, self.pinged, self.untold) = (Instant::now(), false, true);
        self.link = Link::Up { io, known };
    }

    fn down(&mut self, why: &str) {
        let Link::Up { known, .. } = &mut self.link else { return };
        tracing::warn!(why, "the live connection to the bus broke");
        let known = std::mem::take(known);
        self.wire.shared.lock().broken(&mut self.lost);
        (self.unread, self.untold) = (0..0, false);
        self.link = Link::Making(Self::make(&self.bus, known, 1));
    }

    fn make(bus: &Bus, known: Vec<async_nats::ServerAddr>, tries: usize) -> BoxFuture<'static, Made> {
        Box::pin(hello::make(bus.options.as_ref().clone(), known, tries))
    }
}
