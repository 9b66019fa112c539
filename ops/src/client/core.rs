//! The state of a client, fed by its socket and its callers; it does no waiting of its own.
//!
//! Invariant: what it shows is what a correct widget would show, and every send and request ends exactly once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{
    Author, ClientId, ConversationId, ErrorBody, ThreadId,
    command::View,
    limits::{self, Limits},
    protocol::{
        CaughtUp, Closing, Conv, ConversationAvailable, ConversationRemoved, ErrorPayload, Hello,
        LoginAnswer, Profile, Reset, Resume, SendAnswer,
    },
};
use fastwebsockets::OpCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    conversation::Conversation,
    link::Link,
    list::{Applied, Entry},
    options::{Counts, Observer, Options, Phase, Push, RequestError, Sent, State, Stopped},
    outbox::{Full, Left, Outbox},
    wire::{EventHead, EventIn, Inbound},
};

/// Requests in flight that sends leave free for everything else.
const KEPT_FOR_REQUESTS: usize = 2;
/// Conversations a client holds.
const CONVERSATIONS_MAX: usize = 10_000;

pub(super) type Answer = Result<Box<RawValue>, RequestError>;
pub(super) type Waiter = Option<oneshot::Sender<Result<Sent, RequestError>>>;

#[derive(Debug)]
enum Pending {
    Login,
    Ping,
    Request(oneshot::Sender<Answer>),
    Send(ConversationId, Instant),
}

/// What the server wants of a connection that it is about to end.
#[derive(Debug)]
pub(super) enum Verdict {
    Reconnect(Option<Duration>),
    /// Log in with a new token.
    FreshToken(String),
    Stop(Stopped),
}

/// A frame that no server of this protocol sends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadFrame(String);

pub(super) struct Core {
    pub link: Option<Link>,
    pub hello: Option<Hello>,
    pub profile: Option<Profile>,
    pub conversations: HashMap<ConversationId, Conversation>,
    pub outbox: Outbox<Waiter>,
    pub counts: Counts,
    pub verdict: Option<Verdict>,
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

    // ---- what the server does ----

    pub fn on_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.counts.frames += 1;
        let text = std::str::from_utf8(bytes).map_err(|error| BadFrame(error.to_string()));
        if let Err(error) = text.and_then(|text| self.on_text(text, now)) {
            self.counts.bad_frames += 1;
            tracing::debug!(%error, "a frame that does not fit the protocol");
        }
    }

    fn on_text(&mut self, text: &str, now: Instant) -> Result<(), BadFrame> {
        let frame: Inbound<'_> = decode("frame", text)?;
        match frame.answers() {
            Some(request) => self.on_answer(request, frame.success, frame.payload, now)?,
            None => self.on_push(&frame.action, frame.payload, now)?,
        }
        self.pump(now);
        Ok(())
    }

    fn on_answer(
        &mut self,
        request: &str,
        success: bool,
        payload: &RawValue,
        now: Instant,
    ) -> Result<(), BadFrame> {
        let request: u64 = request.parse().map_err(|_| BadFrame("an answer to nothing asked".into()))?;
        // Without an entry it came after its time-out.
        let Some(pending) = self.pending.remove(&request) else { return Ok(()) };
        let refusal = || decode::<ErrorPayload>("error", payload.get()).map(|payload| payload.error);
        match pending {
            Pending::Ping => {}
            Pending::Login if success => self.on_login(decode("login", payload.get())?)?,
            Pending::Login => self.on_login_refused(refusal()?),
            Pending::Request(waiter) => {
                let answer = if success { Ok(payload.to_owned()) } else { Err(refusal()?.into()) };
                let _ = waiter.send(answer);
            }
            Pending::Send(conversation, _) if success => {
                let answer: SendAnswer = decode("answer", payload.get())?;
                if let Some(left) = self.outbox.stored(conversation, request) {
                    self.sent(left, Sent { event_id: answer.event_id, seq: answer.seq, by_push: false });
                }
            }
            Pending::Send(conversation, _) => {
                let error = refusal()?;
                match self.outbox.refused(conversation, request, &error, now, rand::random()) {
                    Some(left) => self.failed(left, error),
                    None => {
                        if let Some(observer) = &self.observer {
                            observer.delayed(conversation, &error);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn on_push(&mut self, action: &str, payload: &RawValue, now: Instant) -> Result<(), BadFrame> {
        match action {
            "event" => self.on_event(payload.get())?,
            "hello" => self.hello = Some(decode("hello", payload.get())?),
            "caught_up" => {
                let push: CaughtUp = decode("caught_up", payload.get())?;
                if let Some(conversation) = self.conversations.get_mut(&push.conversation_id) {
                    conversation.move_cursor(&push.cursor);
                }
                self.caught_up(push.conversation_id);
            }
            "reset" => {
                let push: Reset = decode("reset", payload.get())?;
                self.counts.resets += 1;
                self.snapshot(push.conversation)?;
            }
            "conversation_available" => {
                let push: ConversationAvailable = decode(action, payload.get())?;
                if push.view == View::Mine {
                    self.snapshot(push.conversation)?;
                }
            }
            "conversation_removed" => {
                let push: ConversationRemoved = decode(action, payload.get())?;
                if push.view == View::Mine {
                    self.removed(push.conversation_id);
                }
            }
            "token_expiring" => self.token_expiring = true,
            "closing" => {
                let push: Closing = decode("closing", payload.get())?;
                self.verdict = Some(if push.reconnect {
                    Verdict::Reconnect(Some(Duration::from_millis(push.after_ms)))
                } else {
                    Verdict::Stop(Stopped::Refused(push.reason))
                });
            }
            _ => {}
        }
        if let Some(pushes) = &self.pushes {
            let push = Push { action: action.to_owned(), payload: payload.to_owned() };
            self.counts.pushes_missed += u64::from(pushes.try_send(push).is_err());
        }
        self.pump(now);
        Ok(())
    }

    fn on_event(&mut self, payload: &str) -> Result<(), BadFrame> {
        let push: EventIn<'_> = decode("event", payload)?;
        let raw = push.event.get();
        let head = EventHead::read(raw).map_err(|error| BadFrame(format!("event: {error}")))?;
        self.counts.events += 1;
        if self.conversations.len() >= CONVERSATIONS_MAX
            && !self.conversations.contains_key(&push.conversation_id)
        {
            return Err(BadFrame("more conversations than a client holds".into()));
        }
        let keep = self.keep_events;
        let conversation =
            self.conversations.entry(push.conversation_id).or_insert_with(|| Conversation::new(keep));
        match conversation.list.push(&head, raw, push.late) {
            Applied::Appended => {}
            Applied::Late => self.counts.late += 1,
            Applied::Disordered => self.counts.disordered += 1,
            Applied::Repeated => self.counts.repeated += 1,
        }
        conversation.move_cursor(&push.cursor);
        conversation.follow_life(&head, raw);
        self.on_own(push.conversation_id, &head);
        if let Some(observer) = &self.observer {
            observer.event(push.conversation_id, &head);
        }
        Ok(())
    }

    /// An event with this client's authorship: what the outbox holds of it is stored.
    fn on_own(&mut self, conversation: ConversationId, head: &EventHead<'_>) {
        if let Some(client_id) = head.client_id()
            && self.me == Some(head.author)
            && let Some(left) = self.outbox.seen(conversation, client_id)
        {
            self.sent(left, Sent { event_id: head.id, seq: head.seq, by_push: true });
        }
    }

    fn on_login(&mut self, answer: LoginAnswer) -> Result<(), BadFrame> {
        self.me = Some(Author { kind: answer.profile.kind, id: answer.profile.id });
        self.profile = Some(answer.profile);
        self.live = true;
        for conversation in answer.conversations {
            self.snapshot(conversation)?;
        }
        for conversation in self.outbox.conversations() {
            if self.conversations.get(&conversation).is_none_or(|held| held.caught_up) {
                self.outbox.release(conversation);
            }
        }
        let edge_id = self.hello.as_ref().map(|hello| hello.edge_id.clone());
        let behind = self.behind;
        self.state.send_modify(|state| {
            state.phase = Phase::Live;
            state.logins += 1;
            state.edge_id = edge_id;
            state.behind = behind;
        });
        Ok(())
    }

    fn on_login_refused(&mut self, error: ErrorBody) {
        let after = (error.after_ms > 0).then(|| Duration::from_millis(error.after_ms));
        self.verdict = Some(match error.code {
            bus_schema::ErrorCode::Unauthenticated => Verdict::FreshToken(error.to_string()),
            _ if error.retryable => Verdict::Reconnect(after),
            _ => Verdict::Stop(Stopped::Refused(error.to_string())),
        });
    }

    /// A conversation as the server sees it: with events it replaces what is here; without, pushes follow.
    pub fn snapshot(&mut self, conv: Conv) -> Result<(), BadFrame> {
        let keep = self.keep_events;
        if self.conversations.len() >= CONVERSATIONS_MAX {
            self.conversations.retain(|_, conversation| conversation.mine);
        }
        let conversation = self.conversations.entry(conv.id).or_insert_with(|| Conversation::new(keep));
        conversation.mine = true;
        let Some(events) = &conv.events else {
            if conversation.thread.is_none() {
                conversation.set_thread(conv.thread.as_ref());
            }
            return Ok(());
        };
        let heads = heads(events)?;
        let entries = heads.iter().zip(events).map(|(head, raw)| Entry::new(head, raw.get())).collect();
        conversation.list.replace(entries, conv.has_more);
        conversation.set_thread(conv.thread.as_ref());
        conversation.cursor = conv.cursor;
        for head in &heads {
            self.on_own(conv.id, head);
            if let Some(observer) = &self.observer {
                observer.event(conv.id, head);
            }
        }
        self.caught_up(conv.id);
        Ok(())
    }

    /// A page, or an answer that overlaps with what pushes brought meanwhile.
    pub fn merge(&mut self, id: ConversationId, events: &[Box<RawValue>]) -> Result<(), BadFrame> {
        let heads = heads(events)?;
        let keep = self.keep_events;
        let conversation = self.conversations.entry(id).or_insert_with(|| Conversation::new(keep));
        conversation
            .list
            .merge(heads.iter().zip(events).map(|(head, raw)| Entry::new(head, raw.get())).collect());
        for head in &heads {
            self.on_own(id, head);
        }
        Ok(())
    }

    fn caught_up(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id)
            && !std::mem::replace(&mut conversation.caught_up, true)
        {
            self.behind = self.behind.saturating_sub(1);
            self.tell();
        }
        if self.live {
            self.outbox.release(id);
        }
    }

    fn removed(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.mine = false;
            conversation.cursor = None;
        }
        self.caught_up(id);
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

    /// A verdict that does not wait for the server to close. What `closing` said does.
    pub fn take_final(&mut self) -> Option<Verdict> {
        match self.verdict {
            Some(Verdict::Reconnect(Some(_))) | None => None,
            Some(_) => self.verdict.take(),
        }
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

fn heads(events: &[Box<RawValue>]) -> Result<Vec<EventHead<'_>>, BadFrame> {
    events
        .iter()
        .map(|raw| EventHead::read(raw.get()).map_err(|error| BadFrame(format!("event: {error}"))))
        .collect()
}

fn decode<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, BadFrame> {
    serde_json::from_str(text).map_err(|error| BadFrame(format!("{what}: {error}")))
}
