//! From a signal on the bus to the members that may see it.
//!
//! Invariant: nobody gets their own; previews go to staff alone; a client that is behind loses signals, never events.

use bus_schema::{
    Audience, Author,
    protocol::{Person, PersonPush, QueuePosition, QueueView, SignalKind, SignalPush},
    signal::{EXPIRES_MS, Signal},
};

use super::{
    io::Place,
    members::push,
    room::{Member, Mode},
    worker::Worker,
};
use crate::socket::{Outgoing, Topic};

impl Worker {
    pub(super) fn on_signal(&mut self, place: Place, payload: &[u8]) {
        let conversation_id = place.home.conversation;
        match serde_json::from_slice(payload) {
            Ok(Signal::Typing { author, on, .. }) => {
                let kind = SignalKind::Typing;
                let signal = SignalPush {
                    conversation_id,
                    author,
                    kind,
                    on: Some(on),
                    text: None,
                    expires_ms: EXPIRES_MS,
                };
                self.tell(place, Some(author), None, &push("signal", signal));
            }
            Ok(Signal::Preview { author, text, .. }) if place.audience == Audience::Staff => {
                let kind = SignalKind::Preview;
                let signal = SignalPush {
                    conversation_id,
                    author,
                    kind,
                    on: None,
                    text: Some(text),
                    expires_ms: EXPIRES_MS,
                };
                self.tell(place, Some(author), None, &push("signal", signal));
            }
            Ok(Signal::QueuePosition { position, wait_s, .. }) => {
                if let Some(room) = self.rooms.get_mut(&place.home) {
                    room.queue = Some(QueueView { position, wait_s });
                }
                self.tell(
                    place,
                    None,
                    Some(Topic::Position(conversation_id)),
                    &push("queue_position", QueuePosition { conversation_id, position, wait_s }),
                );
            }
            Ok(Signal::Person { person, .. }) => self.introduce(place, person),
            Ok(Signal::Hold { for_ms, .. }) => self.hold(place.home, for_ms),
            // A preview is nothing for visitors.
            Ok(Signal::Preview { .. } | Signal::Unknown) => {}
            Err(error) => tracing::debug!(%error, "a signal cannot be read"),
        }
    }

    /// Offers a frame to everyone of the audience but its author.
    fn tell(&mut self, place: Place, author: Option<Author>, topic: Option<Topic>, frame: &Outgoing) {
        for member in self.listeners(place).filter(|member| Some(member.viewer) != author) {
            member.conn.outbox.offer(topic, frame.clone());
        }
    }

    /// Whoever has met this person learns the new name; whoever has not learns it when they do.
    fn introduce(&mut self, place: Place, person: Person) {
        if let Some(room) = self.rooms.get_mut(&place.home)
            && person.kind == bus_schema::AuthorType::Visitor
        {
            room.visitor_name.clone_from(&person.name);
        }
        let id = person.id;
        let frame = push("person", PersonPush { person });
        for member in self.listeners(place).filter(|member| member.conn.has_met(id)) {
            member.conn.outbox.push_latest(Topic::Person(id), frame.clone());
        }
    }

    /// Who has the snapshot: what comes now follows it.
    fn listeners(&mut self, place: Place) -> impl Iterator<Item = &Member> {
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let members = state.map_or(&[][..], |state| &state.members);
        members.iter().filter(|member| matches!(member.mode, Mode::Live))
    }
}
