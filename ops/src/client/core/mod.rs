//! The state of a client, fed by its socket and its callers; it does no waiting of its own.
//!
//! Invariant: what it shows is what a correct widget would show, and every send and request ends exactly once.

mod inbound;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{
    Author, ClientId, ConversationId, ErrorBody, ThreadId,
    limits::{self, Limits},
    protocol::{Hello, Profile, Resume},
};
use fastwebsockets::OpCode;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    conversation::Conversation,
    link::Link,
    options::{Counts, Observer, Options, Phase, Push, RequestError, Sent, State, Stopped},
    outbox::{Full, Left, Outbox},
};

/// Requests in flight that sends leave free for everything else.
const KEPT_FOR_REQUESTS: usize = 2;
/// Conversations a client holds.
const CONVERSATIONS_MAX: usize = 10_000;

pub(in crate::client) type Answer = Result<Box<RawValue>, RequestError>;
pub(in crate::client) type Waiter = Option<oneshot::Sender<Result<Sent, RequestError>>>;

#[derive(Debug)]
enum Pending {
    Login,
    Ping,
    Request(oneshot::Sender<Answer>),
    Send(ConversationId, Instant),
}

/// What the server wants of a connection that it is about to end.
#[derive(Debug)]
pub(in crate::client) enum Verdict {
    Reconnect(Option<Duration>),
    /// Log in with a new token.
    FreshToken(String),
    Stop(Stopped),
}

/// A frame that no server of this protocol sends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::client) struct BadFrame(String);

pub(in crate::client) struct Core {
    pub link: Option<Link>,
    pub hello: Option<Hello>,
    pub profile: Option<Profile>,
    pub conversations: HashMap<ConversationId, Conversation>,
    pub outbox: Outbox<Waiter>,
    pub counts: Counts,
    /// How the connection ends, now.
    pub verdict: Option<Verdict>,
    /// What is done once the server has closed, because it said so beforehand.
    pub closing: Option<Verdict>,
    pub token_expiring: bool,
    pub state: watch::Sender<State>,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    me: Option<Author>,
    live: bool,
    behind: usize,
    keep_events: usize,
    answer_within: Duration,
    pushes: Option<mpsc::Sender<Push>>,
    observer: Option<Arc<dyn Observer>>,
}

impl Core {
    pub fn new(options: &Options, pushes: Option<mpsc::Sender<Push>>) -> Self {
        let state = State { phase: Phase::Connecting, logins: 0, edge_id: None, behind: 0 };
        Self {
            link: None,
            hello: None,
            profile: None,
            conversations: HashMap::new(),
            outbox: Outbox::new(options.outbox),
            counts: Counts::default(),
            verdict: None,
            closing: None,
            token_expiring: false,
            state: watch::Sender::new(state),
            pending: HashMap::new(),
            next_request: 1,
            me: None,
            live: false,
            behind: 0,
            keep_events: options.keep_events,
            answer_within: options.outbox.answer_within,
            pushes,
            observer: options.observer.clone(),
        }
    }

    // ---- what callers do ----

    /// Writes a request; the answer comes through `waiter`.
    pub fn request(
        &mut self,
        action: &str,
        payload: &str,
        waiter: oneshot::Sender<Answer>,
    ) -> Result<u64, RequestError> {
        if !self.live {
            return Err(RequestError::NotConnected);
        }
        self.write(action, payload.as_bytes(), Pending::Request(waiter))
    }

    pub fn forget(&mut self, request: u64) {
        self.pending.remove(&request);
    }

    pub fn send(
        &mut self,
        conversation: ConversationId,
        thread: Option<ThreadId>,
        client_id: ClientId,
        event: Box<str>,
        waiter: Waiter,
        now: Instant,
    ) -> Result<(), Full> {
        self.outbox.push(conversation, client_id, thread, event, waiter, now)?;
        if !self.live || self.conversations.get(&conversation).is_some_and(|held| !held.caught_up) {
            self.outbox.hold(conversation);
        }
        self.pump(now);
        Ok(())
    }

    pub fn ping(&mut self) {
        if self.live {
            // A link without room is not silent, and the dead-line of silence still ends it.
            let _ = self.write("ping", b"{}", Pending::Ping);
        }
    }

    pub fn resume(&self, most: usize) -> Vec<Resume> {
        let held = self.conversations.iter().filter(|(_, conversation)| conversation.mine);
        held.filter_map(|(&conversation_id, conversation)| {
            Some(Resume { conversation_id, cursor: conversation.cursor.clone()? })
        })
        .take(most)
        .collect()
    }

    /// Writes `login` and marks what it resumes as behind.
    pub fn login(&mut self, payload: &str, resumed: &[Resume]) {
        self.behind = 0;
        for conversation in self.conversations.values_mut() {
            conversation.caught_up = true;
        }
        for resume in resumed {
            if let Some(conversation) = self.conversations.get_mut(&resume.conversation_id) {
                conversation.caught_up = false;
                self.behind += 1;
            }
        }
        if self.write("login", payload.as_bytes(), Pending::Login).is_err() {
            self.verdict = Some(Verdict::Reconnect(None));
        }
    }

    /// Sends what may go out now.
    pub fn pump(&mut self, now: Instant) {
        while self.live && self.has_request_room() {
            let Some(link) = self.link.as_mut().filter(|link| link.has_room()) else { return };
            let Some(out) = self.outbox.next(self.next_request, now) else { break };
            self.counts.retries += u64::from(out.retry);
            let conversation = out.conversation;
            link.request(self.next_request, "send_event", send_payload(&out).as_bytes());
            self.pending.insert(self.next_request, Pending::Send(conversation, now + self.answer_within));
            self.next_request += 1;
        }
        self.flush();
    }

    pub fn flush(&mut self) {
        if let Some(link) = &mut self.link
            && link.flush().is_err()
        {
            self.verdict.get_or_insert(Verdict::Reconnect(None));
        }
    }

    pub fn tick(&mut self, now: Instant) {
        for (left, error) in self.outbox.tick(now) {
            self.failed(left, error);
        }
        self.pending.retain(|_, pending| !matches!(pending, Pending::Send(_, deadline) if *deadline <= now));
        self.pump(now);
    }

    /// The socket is gone.
    pub fn disconnected(&mut self) {
        (self.link, self.hello, self.live, self.behind) = (None, None, false, 0);
        (self.verdict, self.closing, self.token_expiring) = (None, None, false);
        for (_, pending) in self.pending.drain() {
            if let Pending::Request(waiter) = pending {
                let _ = waiter.send(Err(RequestError::Unknown));
            }
        }
        self.outbox.disconnected();
        self.tell();
    }

    /// Nothing comes any more.
    pub fn stopped(&mut self, why: &Stopped) {
        self.disconnected();
        for left in self.outbox.drain() {
            if let Some(waiter) = left.waiter {
                let _ = waiter.send(Err(why.clone().into()));
            }
        }
        self.pushes = None;
        self.state.send_modify(|state| state.phase = Phase::Stopped(why.clone()));
    }

    // ---- the small print ----

    pub const fn is_live(&self) -> bool {
        self.live
    }

    pub fn ping_interval(&self) -> Duration {
        let ms = self.hello.as_ref().map_or(0, |hello| hello.ping_interval_ms);
        Duration::from_millis(if ms == 0 { limits::PING_INTERVAL_MS } else { ms })
    }

    /// Whether bytes wait for the socket, and within what time [`Core::tick`] is wanted.
    pub fn wants(&self) -> (bool, Option<Duration>) {
        (self.link.as_ref().is_some_and(Link::is_blocked), self.outbox.tick_within())
    }

    pub fn pong(&mut self, payload: &[u8]) {
        if let Some(link) = self.link.as_mut().filter(|link| link.has_room()) {
            link.frame(OpCode::Pong, payload);
        }
        self.flush();
    }

    fn write(&mut self, action: &str, payload: &[u8], pending: Pending) -> Result<u64, RequestError> {
        let link = self.link.as_mut().ok_or(RequestError::NotConnected)?;
        if !link.has_room() {
            return Err(RequestError::Busy);
        }
        let request = self.next_request;
        self.next_request += 1;
        link.request(request, action, payload);
        self.pending.insert(request, pending);
        self.flush();
        Ok(request)
    }

    fn has_request_room(&self) -> bool {
        let limits = self.hello.as_ref().map_or_else(Limits::default, |hello| hello.limits);
        let most = usize::try_from(limits.requests_in_flight).unwrap_or(usize::MAX);
        most == 0 || self.pending.len() + KEPT_FOR_REQUESTS < most.max(KEPT_FOR_REQUESTS + 1)
    }

    fn sent(&self, left: Left<Waiter>, sent: Sent) {
        if let Some(observer) = &self.observer {
            observer.sent(left.conversation, left.client_id.as_str(), sent);
        }
        if let Some(waiter) = left.waiter {
            let _ = waiter.send(Ok(sent));
        }
    }

    fn failed(&self, left: Left<Waiter>, error: ErrorBody) {
        if let Some(observer) = &self.observer {
            observer.failed(left.conversation, left.client_id.as_str(), &error);
        }
        if let Some(waiter) = left.waiter {
            let _ = waiter.send(Err(error.into()));
        }
    }

    fn tell(&self) {
        let (live, behind) = (self.live, self.behind);
        self.state.send_if_modified(|state| {
            let phase = if live { Phase::Live } else { Phase::Connecting };
            let changed = state.behind != behind || state.phase != phase;
            (state.behind, state.phase) = (behind, phase);
            changed
        });
    }
}

fn send_payload(out: &super::outbox::Outgoing<'_>) -> String {
    use std::fmt::Write;
    let mut payload = String::with_capacity(out.event.len() + 160);
    let written = write!(payload, r#"{{"conversation_id":"{}","#, out.conversation)
        .and_then(|()| out.thread.map_or(Ok(()), |thread| write!(payload, r#""thread_id":"{thread}","#)))
        .and_then(|()| write!(payload, r#""event":{}"#, out.event))
        .and_then(|()| payload.write_str(if out.retry { r#","retry":true}"# } else { "}" }));
    written.expect("writing to a String never fails");
    payload
}
