//! What the server says: answers, pushes, snapshots.
//!
//! Invariant: only pushes, snapshots and `caught_up` move a cursor; what came back of the outbox leaves it.

use std::time::{Duration, Instant};

use bus_schema::{
    Author, ConversationId, ErrorBody, ErrorCode,
    command::View,
    protocol::{
        CaughtUp, Closing, Conv, ConversationAvailable, ConversationRemoved, ErrorPayload, LoginAnswer,
        Reset, SendAnswer,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BadFrame, CONVERSATIONS_MAX, Core, Pending, Verdict};
use crate::client::{
    conversation::Conversation,
    list::{Applied, Entry},
    options::{Phase, Push, Sent, Stopped},
    wire::{EventHead, EventIn, Inbound},
};

impl Core {
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
                if let Some(observer) = &self.observer {
                    observer.closing(&push);
                }
                self.closing = Some(if push.reconnect {
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
            let resumed = self.conversations.get(&conversation.id).is_some_and(|held| !held.caught_up);
            self.counts.replaced += u64::from(resumed && conversation.events.is_some());
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
            ErrorCode::Unauthenticated => Verdict::FreshToken(error.to_string()),
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
        conversation.marks = conv.marks;
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
