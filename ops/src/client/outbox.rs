//! What a client has promised to send.
//!
//! Invariant: an item leaves only when it is done (its answer or its own push came), refused for good, or too old; the
//! items of a conversation go out in order, and a conversation that is held sends nothing.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bus_schema::{ClientId, ConversationId, ErrorBody, ErrorCode, ThreadId};

use super::backoff::jittered;

/// Bounds of an outbox.
#[derive(Debug, Clone, Copy)]
pub struct OutboxLimits {
    pub items: usize,
    pub bytes: usize,
    /// Unanswered sends of one conversation. With more than 1 a send that is refused for a while is overtaken.
    pub window: usize,
    /// An answer that has not come by then counts as lost, and the send is repeated.
    pub answer_within: Duration,
    /// A send older than this is given up.
    pub give_up_after: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            items: 1_000,
            bytes: 4 * 1024 * 1024,
            window: 1,
            answer_within: Duration::from_secs(10),
            give_up_after: Duration::from_secs(300),
        }
    }
}

/// The first repeat of a send that was refused for a while comes within this time.
const RETRY_BASE: Duration = Duration::from_millis(200);
/// A repeat is never put off for longer, unless the server named the wait.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often an outbox with refused sends, or with any, wants [`Outbox::tick`].
const TICK_DELAYED: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(500);

/// The outbox is at its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct Full;

/// A send on its way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    pub conversation: ConversationId,
    pub thread: Option<ThreadId>,
    /// The event as JSON.
    pub event: &'a str,
    pub retry: bool,
}

/// A send that left, with who waits for it.
#[derive(Debug)]
pub struct Left<W> {
    pub conversation: ConversationId,
    pub client_id: ClientId,
    pub waiter: W,
}

#[derive(Debug)]
enum State {
    Waiting,
    InFlight { request: u64, deadline: Instant },
}

#[derive(Debug)]
struct Item<W> {
    client_id: ClientId,
    thread: Option<ThreadId>,
    event: Box<str>,
    since: Instant,
    state: State,
    tries: u32,
    waiter: W,
}

/// The sends of one conversation, in order.
#[derive(Debug)]
struct Line<W> {
    items: VecDeque<Item<W>>,
    held: bool,
    in_ready: bool,
    not_before: Option<Instant>,
}

/// Sends of all conversations; `W` is who waits for one.
#[derive(Debug)]
pub struct Outbox<W> {
    limits: OutboxLimits,
    lines: HashMap<ConversationId, Line<W>>,
    /// Conversations that may have something to send, taking turns.
    ready: VecDeque<ConversationId>,
    items: usize,
    bytes: usize,
    delayed: usize,
}

impl<W> Outbox<W> {
    pub fn new(limits: OutboxLimits) -> Self {
        Self { limits, lines: HashMap::new(), ready: VecDeque::new(), items: 0, bytes: 0, delayed: 0 }
    }

    pub const fn len(&self) -> usize {
        self.items
    }

    pub const fn is_empty(&self) -> bool {
        self.items == 0
    }

    pub fn push(
        &mut self,
        conversation: ConversationId,
        client_id: ClientId,
        thread: Option<ThreadId>,
        event: Box<str>,
        waiter: W,
        now: Instant,
    ) -> Result<(), Full> {
        if self.items >= self.limits.items || self.bytes + event.len() > self.limits.bytes {
            return Err(Full);
        }
        self.items += 1;
        self.bytes += event.len();
        let item = Item { client_id, thread, event, since: now, state: State::Waiting, tries: 0, waiter };
        let line = self.lines.entry(conversation).or_insert_with(|| Line {
            items: VecDeque::new(),
            held: false,
            in_ready: false,
            not_before: None,
        });
        line.items.push_back(item);
        offer(&mut self.ready, conversation, line);
        Ok(())
    }

    /// The next send that may go out now, marked as sent by `request`.
    pub fn next(&mut self, request: u64, now: Instant) -> Option<Outgoing<'_>> {
        let window = self.limits.window;
        while let Some(conversation) = self.ready.pop_front() {
            let Some(line) = self.lines.get_mut(&conversation) else { continue };
            line.in_ready = false;
            if line.held || line.not_before.is_some() {
                continue;
            }
            let mut waiting = (0..line.items.len().min(window))
                .filter(|&at| matches!(line.items[at].state, State::Waiting));
            let (Some(at), more) = (waiting.next(), waiting.next().is_some()) else { continue };
            if more {
                offer(&mut self.ready, conversation, line);
            }
            // Looked up again, because the borrow checker cannot see that the loop ends here.
            let item = self.lines.get_mut(&conversation)?.items.get_mut(at)?;
            item.state = State::InFlight { request, deadline: now + self.limits.answer_within };
            item.tries += 1;
            return Some(Outgoing {
                conversation,
                thread: item.thread,
                event: &item.event,
                retry: item.tries > 1,
            });
        }
        None
    }

    /// The answer said that it is stored.
    pub fn stored(&mut self, conversation: ConversationId, request: u64) -> Option<Left<W>> {
        self.take(conversation, |item| sent_by(item, request))
    }

    /// A push with this client's authorship came: it is stored, whatever the answer will be.
    pub fn seen(&mut self, conversation: ConversationId, client_id: &str) -> Option<Left<W>> {
        self.take(conversation, |item| item.client_id.as_str() == client_id)
    }

    /// The answer said no: for good (it leaves), or for a while (it stays, and the conversation with it).
    pub fn refused(
        &mut self,
        conversation: ConversationId,
        request: u64,
        error: &ErrorBody,
        now: Instant,
        unit: f64,
    ) -> Option<Left<W>> {
        if !error.retryable {
            return self.take(conversation, |item| sent_by(item, request));
        }
        let line = self.lines.get_mut(&conversation)?;
        let item = line.items.iter_mut().find(|item| sent_by(item, request))?;
        item.state = State::Waiting;
        let wait = if error.after_ms > 0 {
            Duration::from_millis(error.after_ms)
        } else {
            jittered(RETRY_BASE, item.tries.saturating_sub(1), unit).min(RETRY_MAX)
        };
        if line.not_before.replace(now + wait).is_none() {
            self.delayed += 1;
        }
        None
    }

    /// Nothing of the conversation goes out until [`Outbox::release`]: it has not caught up.
    pub fn hold(&mut self, conversation: ConversationId) {
        if let Some(line) = self.lines.get_mut(&conversation) {
            line.held = true;
        }
    }

    pub fn release(&mut self, conversation: ConversationId) {
        if let Some(line) = self.lines.get_mut(&conversation) {
            line.held = false;
            offer(&mut self.ready, conversation, line);
        }
    }

    /// The connection is gone: nothing is in flight, nothing goes out until it is released again.
    pub fn disconnected(&mut self) {
        self.ready.clear();
        self.delayed = 0;
        for line in self.lines.values_mut() {
            line.held = true;
            line.in_ready = false;
            line.not_before = None;
            for item in &mut line.items {
                item.state = State::Waiting;
            }
        }
    }

    /// Conversations with something to send.
    pub fn conversations(&self) -> Vec<ConversationId> {
        self.lines.keys().copied().collect()
    }

    /// Repeats what was not answered in time, ends waits, and gives up what is too old.
    pub fn tick(&mut self, now: Instant) -> Vec<(Left<W>, ErrorBody)> {
        let mut gone = Vec::new();
        let give_up_after = self.limits.give_up_after;
        for (&conversation, line) in &mut self.lines {
            if line.not_before.is_some_and(|at| at <= now) {
                line.not_before = None;
                self.delayed -= 1;
            }
            for item in &mut line.items {
                if matches!(item.state, State::InFlight { deadline, .. } if deadline <= now) {
                    item.state = State::Waiting;
                }
            }
            while line.items.front().is_some_and(|item| now.duration_since(item.since) >= give_up_after)
                && let Some(item) = line.items.pop_front()
            {
                self.items -= 1;
                self.bytes -= item.event.len();
                let error = ErrorBody::new(ErrorCode::Timeout, "given up: not confirmed in time");
                gone.push((Left { conversation, client_id: item.client_id, waiter: item.waiter }, error));
            }
            if line.not_before.is_none() {
                offer(&mut self.ready, conversation, line);
            }
        }
        let delayed = &mut self.delayed;
        self.lines.retain(|_, line| {
            if line.items.is_empty() && line.not_before.is_some() {
                *delayed -= 1;
            }
            !line.items.is_empty()
        });
        gone
    }

    /// When [`Outbox::tick`] is wanted next.
    pub const fn tick_within(&self) -> Option<Duration> {
        match (self.items, self.delayed) {
            (0, _) => None,
            (_, 0) => Some(TICK),
            (_, _) => Some(TICK_DELAYED),
        }
    }

    /// Empties the outbox.
    pub fn drain(&mut self) -> Vec<Left<W>> {
        self.ready.clear();
        (self.items, self.bytes, self.delayed) = (0, 0, 0);
        let left = |conversation| {
            move |item: Item<W>| Left { conversation, client_id: item.client_id, waiter: item.waiter }
        };
        self.lines
            .drain()
            .flat_map(|(conversation, line)| line.items.into_iter().map(left(conversation)))
            .collect()
    }

    fn take(&mut self, conversation: ConversationId, which: impl Fn(&Item<W>) -> bool) -> Option<Left<W>> {
        let line = self.lines.get_mut(&conversation)?;
        let at = line.items.iter().position(which)?;
        let item = line.items.remove(at)?;
        self.items -= 1;
        self.bytes -= item.event.len();
        if line.items.is_empty() {
            if line.not_before.is_some() {
                self.delayed -= 1;
            }
            self.lines.remove(&conversation);
        } else {
            offer(&mut self.ready, conversation, line);
        }
        Some(Left { conversation, client_id: item.client_id, waiter: item.waiter })
    }
}

fn offer<W>(ready: &mut VecDeque<ConversationId>, conversation: ConversationId, line: &mut Line<W>) {
    if !line.held && !line.in_ready && !line.items.is_empty() {
        line.in_ready = true;
        ready.push_back(conversation);
    }
}

const fn sent_by<W>(item: &Item<W>, by: u64) -> bool {
    matches!(item.state, State::InFlight { request, .. } if request == by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const NOW: fn() -> Instant = Instant::now;

    fn conversation(n: u128) -> ConversationId {
        ConversationId::from_uuid(Uuid::from_u128(n))
    }

    fn push(outbox: &mut Outbox<u32>, of: u128, n: u32) {
        let id = ClientId::new(format!("c{n}")).unwrap();
        outbox.push(conversation(of), id, None, format!("{n}").into(), n, NOW()).unwrap();
    }

    fn next(outbox: &mut Outbox<u32>, request: u64) -> Option<(String, bool)> {
        outbox.next(request, NOW()).map(|out| (out.event.to_owned(), out.retry))
    }

    fn later() -> ErrorBody {
        ErrorCode::Unavailable.into()
    }

    #[test]
    fn one_at_a_time_and_in_order_within_a_conversation() {
        let mut outbox = Outbox::new(OutboxLimits::default());
        push(&mut outbox, 1, 1);
        push(&mut outbox, 1, 2);
        push(&mut outbox, 2, 3);
        assert_eq!(next(&mut outbox, 10), Some(("1".into(), false)));
        assert_eq!(next(&mut outbox, 11), Some(("3".into(), false)));
        assert_eq!(next(&mut outbox, 12), None);
        assert_eq!(outbox.stored(conversation(1), 10).map(|left| left.waiter), Some(1));
        assert_eq!(next(&mut outbox, 13), Some(("2".into(), false)));
    }

    #[test]
    fn answer_and_own_push_make_it_sent_once_whichever_is_first() {
        let mut outbox = Outbox::new(OutboxLimits::default());
        push(&mut outbox, 1, 1);
        next(&mut outbox, 10);
        assert!(outbox.seen(conversation(1), "c1").is_some());
        assert!(outbox.stored(conversation(1), 10).is_none());
        assert!(outbox.is_empty());
    }

    #[test]
    fn after_a_reconnect_what_did_not_come_back_goes_again_in_order_as_a_retry() {
        let mut outbox = Outbox::new(OutboxLimits { window: 3, ..OutboxLimits::default() });
        for n in 1..=4 {
            push(&mut outbox, 1, n);
        }
        for request in 10..13 {
            next(&mut outbox, request);
        }
        outbox.disconnected();
        assert_eq!(next(&mut outbox, 20), None, "held until it has caught up");
        outbox.seen(conversation(1), "c2");
        outbox.release(conversation(1));
        let sent: Vec<_> = (20..23).filter_map(|request| next(&mut outbox, request)).collect();
        assert_eq!(sent, [("1".into(), true), ("3".into(), true), ("4".into(), false)]);
        assert!(
            outbox.stored(conversation(1), 10).is_none(),
            "an answer of the old connection means nothing"
        );
    }

    #[test]
    fn refused_for_a_while_waits_refused_for_good_leaves() {
        let mut outbox = Outbox::new(OutboxLimits::default());
        push(&mut outbox, 1, 1);
        push(&mut outbox, 1, 2);
        let start = NOW();
        next(&mut outbox, 10);
        assert!(
            outbox
                .refused(conversation(1), 10, &later().after(Duration::from_millis(70)), start, 1.0)
                .is_none()
        );
        assert_eq!((next(&mut outbox, 11), outbox.tick_within()), (None, Some(TICK_DELAYED)));
        outbox.tick(start + Duration::from_millis(69));
        assert_eq!(next(&mut outbox, 11), None);
        outbox.tick(start + Duration::from_millis(70));
        assert_eq!(next(&mut outbox, 11), Some(("1".into(), true)));
        let closed = ErrorCode::ThreadClosed.into();
        assert_eq!(outbox.refused(conversation(1), 11, &closed, start, 1.0).map(|left| left.waiter), Some(1));
        assert_eq!(next(&mut outbox, 12), Some(("2".into(), false)));
    }

    #[test]
    fn unanswered_is_repeated_and_too_old_is_given_up() {
        let mut outbox = Outbox::new(OutboxLimits::default());
        push(&mut outbox, 1, 1);
        next(&mut outbox, 10);
        let limits = OutboxLimits::default();
        assert!(outbox.tick(NOW() + limits.answer_within).is_empty());
        assert_eq!(next(&mut outbox, 11), Some(("1".into(), true)));
        let gone = outbox.tick(NOW() + limits.give_up_after);
        assert_eq!(gone.len(), 1);
        assert!(outbox.is_empty() && outbox.tick_within().is_none());
    }

    #[test]
    fn full_by_items_and_by_bytes() {
        let mut outbox = Outbox::new(OutboxLimits { items: 2, bytes: 10, ..OutboxLimits::default() });
        let id = |n: u32| ClientId::new(format!("c{n}")).unwrap();
        outbox.push(conversation(1), id(1), None, "12345678".into(), (), NOW()).unwrap();
        assert_eq!(outbox.push(conversation(1), id(2), None, "123".into(), (), NOW()), Err(Full));
        outbox.push(conversation(1), id(2), None, "1".into(), (), NOW()).unwrap();
        assert_eq!(outbox.push(conversation(1), id(3), None, "".into(), (), NOW()), Err(Full));
    }

    proptest! {
        /// Whatever happens, each send leaves exactly once and first goes out in the order of its conversation.
        #[test]
        fn nothing_is_lost_or_sent_out_of_order(steps: Vec<(u8, u8)>, window in 1_usize..4) {
            let mut outbox = Outbox::new(OutboxLimits { window, ..OutboxLimits::default() });
            let (mut pushed, mut left, mut request) = (0_u32, Vec::new(), 0_u64);
            let mut flying: Vec<(u64, ConversationId)> = Vec::new();
            let mut first_tries: Vec<u32> = Vec::new();
            let start = NOW();
            for (step, pick) in steps {
                match step % 6 {
                    0 | 1 => { push(&mut outbox, 1, pushed); pushed += 1; }
                    2 => if let Some(out) = outbox.next(request, start) {
                        if !out.retry { first_tries.push(out.event.parse().unwrap()); }
                        flying.push((request, out.conversation));
                        request += 1;
                    },
                    3 if !flying.is_empty() => {
                        let (request, conversation) = flying.remove(usize::from(pick) % flying.len());
                        left.extend(outbox.stored(conversation, request).map(|left| left.waiter));
                    }
                    4 if !flying.is_empty() => {
                        let (request, conversation) = flying.remove(usize::from(pick) % flying.len());
                        outbox.refused(conversation, request, &later(), start, 0.0);
                        outbox.tick(start);
                    }
                    _ => { outbox.disconnected(); flying.clear(); outbox.release(conversation(1)); }
                }
            }
            prop_assert!(first_tries.windows(2).all(|two| two[0] < two[1]));
            left.extend(outbox.drain().into_iter().map(|left| left.waiter));
            left.sort_unstable();
            prop_assert_eq!(left, (0..pushed).collect::<Vec<_>>());
        }
    }
}
