//! On what terms staff follow a conversation: as one who takes part, or as a watcher who may see it.
//!
//! Invariant: whoever may not follow any more, by a change of the conversation or of the configuration, gets
//! `conversation_removed` after the event that ended it, and nothing after that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bus_schema::{
    Audience, Author, ConversationId,
    close::CloseCode,
    command::View,
    cursor::Cursor,
    protocol::{ConversationRemoved, Push},
    state::LifeState,
    subject::ConversationSubjects,
};
use tokio::sync::mpsc;

use super::{Join, Joined, Then, io::Place, room::Mode, sends::Sender, worker::Worker};
use crate::{conn::Conn, directory::Index, socket::Outgoing};

/// The terms of one connection and conversation.
#[derive(Debug, Clone)]
pub struct Gate {
    pub sender: Sender,
    /// Whether the connection watches; it may begin and stop while it follows.
    pub watches: Arc<AtomicBool>,
    pub ended: mpsc::Sender<Ended>,
}

/// A connection does not follow the conversation any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub conn: u64,
    pub conversation: ConversationId,
    /// It was turned away at the door: the newest state says that it may not follow.
    pub refused: bool,
}

/// As what somebody follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    TakesPart,
    Watches,
}

impl Standing {
    /// Whose cursors it gets: a watcher's are told apart, so that a resumed login watches again.
    pub fn principal(self, viewer: Author) -> [u8; 8] {
        match self {
            Standing::TakesPart => Cursor::principal(viewer),
            Standing::Watches => Cursor::watcher(viewer),
        }
    }
}

impl Gate {
    pub fn is_watched(&self) -> bool {
        self.watches.load(Ordering::Relaxed)
    }

    /// None: not at all.
    pub fn standing(&self, index: &Index, state: &LifeState) -> Option<Standing> {
        if state.status.is_open() && self.sender.takes_part(state) {
            return Some(Standing::TakesPart);
        }
        let sees = || self.sender.may_see(index, state).is_ok();
        (self.is_watched() && sees()).then_some(Standing::Watches)
    }

    fn tell(&self, conn: &Conn, conversation: ConversationId, refused: bool) {
        let ended = Ended { conn: conn.id, conversation, refused };
        // Whoever asked would go on believing that it follows: the client comes back, and all is read anew.
        if self.ended.try_send(ended).is_err() {
            conn.outbox.close(CloseCode::Unverified);
        }
    }
}

impl Worker {
    /// Asks again who may follow, as of this state.
    pub(super) fn recheck(&mut self, home: ConversationSubjects, state: &LifeState) {
        let index = self.core.directory.now();
        let place = Place { home, audience: Audience::Staff };
        let Some(feed) = self.rooms.get_mut(&home).and_then(|room| room.feed(place.audience)) else { return };
        let mut ended = Vec::new();
        for member in &mut feed.members {
            let Some(gate) = &member.gate else { continue };
            match gate.standing(&index, state) {
                Some(standing) => member.stands_as(standing),
                None => ended.push(member.conn.id),
            }
        }
        for conn in ended {
            self.end(place, conn);
        }
    }

    /// The configuration changed: groups may have other members.
    pub(super) fn recheck_all(&mut self) {
        let states: Vec<_> = self
            .rooms
            .iter_mut()
            .filter_map(|(home, room)| {
                room.feed(Audience::Staff).filter(|feed| !feed.members.is_empty())?;
                Some((*home, room.life.as_ref()?.state.clone()))
            })
            .collect();
        for (home, state) in states {
            self.recheck(home, &state);
        }
    }

    pub(super) fn on_recheck(&mut self, home: ConversationSubjects) {
        let life = self.rooms.get(&home).and_then(|room| room.life.as_ref());
        if let Some(state) = life.map(|life| life.state.clone()) {
            self.recheck(home, &state);
        }
    }

    /// Nothing follows but the word that it is over.
    fn end(&mut self, place: Place, conn: u64) {
        let conversation_id = place.home.conversation;
        let removed = ConversationRemoved { view: View::Mine, conversation_id };
        let feed = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let Some(member) = feed.and_then(|feed| feed.member(conn)) else { return };
        if member.ended {
            return;
        }
        member.ended = true;
        if let Mode::Held(held) = &mut member.mode {
            // It goes out after the snapshot, which is on its way.
            let frame = serde_json::to_vec(&Push::new("conversation_removed", removed));
            held.frames.push(Outgoing::text(frame.expect("an id and a word, written to memory")));
            return;
        }
        member.conn.push("conversation_removed", removed);
        self.gone(place, conn);
    }

    /// An ended member was told: it is one no more.
    pub(super) fn gone(&mut self, place: Place, conn: u64) {
        let feed = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let Some(member) = feed.and_then(|feed| feed.member(conn)) else { return };
        if let Some(gate) = &member.gate {
            gate.tell(&member.conn, place.home.conversation, false);
        }
        self.remove(place, conn);
    }

    /// As what the one who wants to join may, by the newest state; who may not is told.
    pub(super) fn admits(&mut self, place: Place, join: Join) -> Option<(Join, Standing)> {
        let Some(gate) = &join.gate else { return Some((join, Standing::TakesPart)) };
        let room = self.rooms.get_mut(&place.home)?;
        let life = room.life.as_ref();
        let standing = life.and_then(|life| gate.standing(&self.core.directory.now(), &life.state));
        if let Some(standing) = standing {
            return Some((join, standing));
        }
        let id = join.conn.id;
        if room.feed(place.audience).is_some_and(|feed| feed.member(id).is_some()) {
            self.end(place, id);
        } else {
            if let Some(places) = self.whereabouts.get_mut(&id) {
                places.retain(|other| *other != place);
            }
            if let Then::Announce(_) = &join.then {
                gate.tell(&join.conn, place.home.conversation, true);
            }
        }
        if let Then::Hold(done) = join.then {
            let _ = done.send(Ok(Joined { conv: None, people: Vec::new() }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::{AgentId, TenantId, ThreadId, Timestamp, VisitorId, claims::Role, state::ThreadStatus};
    use uuid::Uuid;

    use super::*;

    const ME: AgentId = AgentId::from_uuid(Uuid::from_u128(1));

    fn state(status: ThreadStatus, assignee: Option<AgentId>, participants: Vec<AgentId>) -> LifeState {
        LifeState {
            thread_id: ThreadId::NIL,
            status,
            group_id: None,
            assignee_id: assignee,
            participants,
            started_at: Timestamp::from_millis(0),
            started_seq: Some(1),
            visitor_id: VisitorId::NIL,
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Default::default(),
        }
    }

    #[test]
    fn own_ends_with_the_thread_and_watching_does_not() {
        let (ended, _inbox) = mpsc::channel(1);
        let watches = Arc::new(AtomicBool::new(false));
        let sender = Sender::Staff { tenant: TenantId::NIL, agent: ME, role: Role::Agent };
        let gate = Gate { sender, watches: watches.clone(), ended };
        let index = Index::default();
        let standing = |state: &LifeState| gate.standing(&index, state);
        let mine = state(ThreadStatus::Active, Some(ME), vec![]);
        let joined = state(ThreadStatus::Active, Some(AgentId::NIL), vec![ME]);
        let closed = state(ThreadStatus::Closed, Some(ME), vec![ME]);
        let other = state(ThreadStatus::Active, Some(AgentId::NIL), vec![]);
        assert_eq!(
            (standing(&mine), standing(&joined)),
            (Some(Standing::TakesPart), Some(Standing::TakesPart))
        );
        assert_eq!((standing(&closed), standing(&other)), (None, None));
        watches.store(true, Ordering::Relaxed);
        assert_eq!(standing(&mine), Some(Standing::TakesPart));
        assert_eq!((standing(&closed), standing(&other)), (Some(Standing::Watches), Some(Standing::Watches)));
    }
}
