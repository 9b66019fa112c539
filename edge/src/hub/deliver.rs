//! From a live copy to the members' outboxes: the hot path.

use std::sync::Arc;

use bus_schema::{Audience, Event, Lane, close::CloseCode, tally::Fact};
use bytes::Bytes;
use futures::FutureExt as _;
use ops::{
    chat::{self, Head, Life, Marked},
    log::LiveCopy,
    wire,
};

use super::{
    Then, encode,
    io::{self, Place, Shown},
    room::{FeedState, Mode},
    worker::Worker,
};
use crate::{
    clock,
    conn::Conn,
    core::Core,
    desk::floor::Ask,
    feed::{Action, Copy, Entry},
    socket::{Outgoing, Pushed},
};

impl Worker {
    pub(super) fn on_live(&mut self, message: &wire::Message<'_>) {
        // One that ended meanwhile: copies may still be on their way.
        let Some(place) = self.subscriptions.place(message.sid) else { return };
        if io::is_signal(message.subject) {
            return self.on_signal(place, message.payload);
        }
        let Some(lane) = io::lane_of(message.subject) else { return };
        let Some(copy) = LiveCopy::of(message.headers) else { return };
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let Some(feed) = state.and_then(|state| state.feed.as_mut()) else { return };
        let item = Shown { at: copy.at, payload: Bytes::copy_from_slice(message.payload) };
        let entry = Entry { lane, seq: copy.seq, item };
        let mut actions = Vec::new();
        feed.on_live(Copy { entry, previous: copy.previous, fence: copy.fence }, &mut actions);
        self.act(place, actions);
    }

    /// Does what a feed decided.
    pub(super) fn act(&mut self, place: Place, actions: Vec<Action<Shown>>) {
        for action in actions {
            match action {
                Action::Deliver { entry, late, position } => self.deliver(place, &entry, late, position),
                Action::Look => self.work.push(io::ends(self.log(place.home), place).boxed()),
                Action::Read(wanted) => {
                    self.core.measures.repairs.increment(1);
                    let read = io::read(self.log(place.home), place, wanted);
                    self.work.push(read.boxed());
                }
            }
        }
    }

    fn deliver(&mut self, place: Place, entry: &Entry<Shown>, late: bool, position: [u64; Lane::ALL.len()]) {
        let Some(room) = self.rooms.get_mut(&place.home) else { return };
        let message = &entry.item;
        let mut life = None;
        if entry.lane == Lane::Life {
            match Life::decode(entry.seq, &message.payload) {
                Ok(read) => {
                    room.learn(&read);
                    life = Some(read);
                }
                Err(error) => tracing::error!(%error, seq = entry.seq, "a state cannot be read"),
            }
        }
        if entry.lane == Lane::Mark
            && let Ok(event) = Event::decode(&message.payload)
            && let Some(marked) = Marked::of_body(&event.body)
        {
            room.has_marked(event.author, marked);
        }
        let name = room.visitor_name.clone();
        let Some(state) = room.feed(place.audience) else { return };
        let fact = chat::fact(entry.lane, entry.seq, &message.payload, late);
        let delivery = Delivery {
            core: &self.core,
            place,
            seq: entry.seq,
            message,
            late,
            position,
            fact,
            name: name.as_deref(),
        };
        delivery.to_members(state, &mut self.dirty);
        if let Some(life) = life {
            match place.audience {
                Audience::All => {
                    let group_id = life.state.group_id.filter(|_| life.is_open());
                    let moved = Ask::Thread { visitor: life.state.visitor_id, group_id };
                    self.core.floors.tell(place.home.tenant, moved);
                    self.wake_dormant(place, position);
                }
                Audience::Staff => self.recheck(place.home, &life.state),
            }
        }
    }

    /// A conversation came to be: who waited for it gets it whole.
    fn wake_dormant(&mut self, place: Place, position: [u64; Lane::ALL.len()]) {
        let Some(state) = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience)) else {
            return;
        };
        let dormant: Vec<_> = state
            .members
            .iter()
            .filter(|member| matches!(member.mode, Mode::Dormant))
            .map(|member| (member.conn.clone(), member.viewer))
            .collect();
        for (conn, viewer) in dormant {
            let then = Then::Announce(bus_schema::command::View::Mine);
            let (home, audience) = (place.home, place.audience);
            let join = super::Join { home, audience, conn, viewer, gate: None, resume: None, then };
            self.load(place, join, position, None);
        }
    }
}

struct Delivery<'a> {
    core: &'a Core,
    place: Place,
    seq: u64,
    message: &'a Shown,
    late: bool,
    /// After this message; the feed itself may be ahead, with more to be delivered.
    position: [u64; Lane::ALL.len()],
    fact: Fact,
    name: Option<&'a str>,
}

impl Delivery<'_> {
    fn to_members(&self, state: &mut FeedState, dirty: &mut Vec<Arc<Conn>>) {
        let Place { home, audience } = self.place;
        let Shown { at, payload } = self.message;
        let measures = &self.core.measures;
        let author = Head::decode(payload).ok().map(|head| head.author);
        let shared = encode::shared(home, self.seq, *at, payload, self.late);
        for member in &mut state.members {
            if matches!(member.mode, Mode::Dormant) || member.ended {
                continue;
            }
            member.takes(self.seq, self.fact);
            let tally = member.tally.clone();
            let cursor = self.core.cursor(home, audience, member.principal, self.position, tally);
            let people = self.core.people(&member.conn, home.tenant, author, self.name);
            let frame = encode::event(shared.clone(), &cursor, &people);
            measures.delivered.increment(1);
            match &mut member.mode {
                Mode::Live => {
                    if member.conn.outbox.queue(frame) == (Pushed::Queued { first: true }) {
                        dirty.push(member.conn.clone());
                    }
                }
                Mode::Held(held) => {
                    held.bytes += cost(&frame);
                    held.frames.push(frame);
                    if held.bytes > crate::limits::or_unbounded(self.core.limits.outbox_bytes) {
                        held.frames.clear();
                        held.facts = None;
                        member.conn.outbox.close(CloseCode::SlowConsumer);
                    }
                }
                Mode::Dormant => {}
            }
        }
        measures.late.increment(u64::from(self.late));
        measures.delivery_seconds.record(clock::now().since(*at));
    }
}

fn cost(frame: &Outgoing) -> usize {
    match frame {
        Outgoing::Text { shared, own } => shared.len() + own.len(),
        Outgoing::Pong(_) | Outgoing::CloseEcho(_) | Outgoing::Close(_) => 0,
    }
}
