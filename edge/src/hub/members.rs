//! Who follows a feed: joining at one position, waiting for the snapshot, leaving.

use bus_schema::{
    Audience, ErrorBody, ErrorCode, Lane,
    close::CloseCode,
    command::View,
    protocol::{CaughtUp, ConversationAvailable, ConversationRemoved, Push, Reset},
    state::ThreadStatus,
};
use futures::FutureExt as _;
use ops::chat::{self, Marked};
use serde::Serialize;

use super::{
    Join, Joined, Then, encode,
    io::{Done, Place},
    load::{self, Content, Loaded, Missed, ReaderAt, Resume, Wish},
    room::{Ends, Held, Member, Mode, Waiter},
    worker::Worker,
};
use crate::socket::Outgoing;

impl Worker {
    pub(super) fn on_join(&mut self, join: Join) {
        // What comes after `Forget` would stay for ever.
        if join.conn.has_left() {
            return;
        }
        let place = Place { home: join.home, audience: join.audience };
        // A visitor is at one.
        let places = self.whereabouts.entry(join.conn.id).or_insert_with(|| Vec::with_capacity(1));
        if !places.contains(&place) {
            places.push(place);
        }
        self.when_current(place, Waiter::Join(join));
    }

    pub(super) fn on_leave(&mut self, place: Place, conn: u64, view: View) {
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        if state.is_some() {
            self.when_current(place, Waiter::Leave { conn, view });
        }
    }

    pub(super) fn on_forget(&mut self, conn: u64) {
        for place in self.whereabouts.remove(&conn).unwrap_or_default() {
            self.remove(place, conn);
        }
    }

    pub(super) fn remove(&mut self, place: Place, conn: u64) {
        if let Some(places) = self.whereabouts.get_mut(&conn) {
            places.retain(|other| *other != place);
        }
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let Some(state) = state else { return };
        state.members.retain(|member| member.conn.id != conn);
        let others = |waiter: &Waiter| !matches!(waiter, Waiter::Join(join) if join.conn.id == conn);
        state.waiters.retain(others);
        state.next_waiters.retain(others);
        self.tidy(place.home);
    }

    /// Everything up to now is delivered; `ends` are those of the lanes, as far as they are known.
    pub(super) fn serve(&mut self, place: Place, waiter: Waiter, ends: Option<&Ends>) {
        match waiter {
            Waiter::Join(join) => {
                let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
                let feed = state.and_then(|state| state.feed.as_ref());
                let Some(position) = feed.map(|feed| feed.position()) else { return };
                let known = ends.filter(|(at, _)| *at == position).map(|(_, ends)| ends.clone());
                self.load(place, join, position, known);
            }
            Waiter::Leave { conn, view } => {
                let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
                let Some(member) = state.and_then(|state| state.member(conn)) else { return };
                let conversation_id = place.home.conversation;
                member.conn.push("conversation_removed", ConversationRemoved { view, conversation_id });
                self.remove(place, conn);
            }
        }
    }

    /// It could not be brought up to now.
    pub(super) fn refuse(&mut self, place: Place, waiter: Waiter, error: &ErrorBody) {
        match waiter {
            Waiter::Join(join) => {
                // Nobody else would tell it of the conversation: it comes back, and asks what it holds.
                if let Then::Announce(_) = &join.then {
                    join.conn.outbox.close(CloseCode::Unverified);
                }
                self.cannot_join(place, join.conn.id, join.then, error);
            }
            Waiter::Leave { conn, .. } => self.remove(place, conn),
        }
    }

    fn cannot_join(&mut self, place: Place, conn: u64, then: Then, error: &ErrorBody) {
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let member = state.and_then(|state| state.member(conn));
        match then {
            Then::Hold(done) => {
                let _ = done.send(Err(error.clone()));
            }
            Then::Announce(_) => {
                if let Some(member) = &member {
                    member.conn.outbox.close(CloseCode::Unverified);
                }
            }
        }
        // What was held has no snapshot to follow; the client comes back and resumes.
        if let Some(member) = member
            && matches!(member.mode, Mode::Held(_))
        {
            member.conn.outbox.close(CloseCode::Unverified);
        }
    }

    /// Fixes the member's position, and reads what lies below it.
    pub(super) fn load(
        &mut self,
        place: Place,
        join: Join,
        position: [u64; Lane::ALL.len()],
        ends: Option<Vec<(Lane, u64)>>,
    ) {
        let log = self.log(place.home);
        let Some((join, standing)) = self.admits(place, join) else { return };
        let Some(room) = self.rooms.get_mut(&place.home) else { return };
        let (life, queue) = (room.life.clone(), room.queue);
        let visitor_online = room
            .feed(Audience::All)
            .is_some_and(|state| state.members.iter().any(|member| !member.conn.outbox.is_ended()))
            || life
                .as_ref()
                .is_some_and(|life| self.core.floors.is_online(place.home.tenant, life.state.visitor_id));
        let Some(state) = room.feed(place.audience) else { return };
        let Join { conn, viewer, gate, resume, then, .. } = join;
        let id = conn.id;
        if conn.outbox.is_ended() {
            return;
        }
        let member = match state.members.iter_mut().position(|member| member.conn.id == id) {
            Some(at) => &mut state.members[at],
            None => {
                // Most conversations have one or two, and room for more would be kept as long as they last.
                state.members.reserve_exact(1);
                state.members.push(Member::new(conn.clone(), viewer, Mode::Dormant));
                state.members.last_mut().expect("one was just pushed")
            }
        };
        if matches!(member.mode, Mode::Held(_)) {
            let (home, audience) = (place.home, place.audience);
            member.pending.push(Join { home, audience, conn, viewer, gate, resume, then });
            return;
        }
        member.stands_as(standing);
        member.gate = gate;
        let Some(life) = life else {
            member.mode = Mode::Dormant;
            if let Then::Hold(done) = then {
                let _ = done.send(Ok(Joined { conv: None, people: Vec::new() }));
            }
            return;
        };
        self.loads += 1;
        let load = self.loads;
        member.tally = None;
        member.mode = Mode::Held(Held { load, facts: Some(Vec::new()), ..Held::default() });
        let (principal, reader) = (member.principal, member.reader);
        let resume = resume.map(|position| Resume { position, conn });
        let wish = Wish { place, life, position, ends, viewer, reader, resume, visitor_online, queue };
        let core = self.core.clone();
        let read = async move {
            let mut result = load::content(&core, &log, &wish).await;
            if let Ok(content) = &mut result {
                let tally = content.tally.clone();
                content.conv.cursor =
                    Some(core.cursor(place.home, place.audience, principal, position, tally));
            }
            Done::Loaded { place, conn: id, load, loaded: Box::new(Loaded { then, result }) }
        };
        self.work.push(read.boxed());
    }

    pub(super) fn on_loaded(&mut self, place: Place, conn: u64, load: u64, loaded: Loaded) {
        let Loaded { then, result } = loaded;
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        if state.and_then(|state| state.held_by(conn, load)).is_none() {
            // The connection left meanwhile, and may have come again: another load answers that.
            if let Then::Hold(done) = then {
                let _ = done.send(Err(ErrorCode::Unavailable.into()));
            }
            return;
        }
        let content = match result {
            Ok(content) => content,
            Err(error) => return self.cannot_join(place, conn, then, &error),
        };
        let core = self.core.clone();
        let Some(room) = self.rooms.get_mut(&place.home) else { return };
        room.visitor_name.clone_from(&content.visitor_name);
        for mark in &content.conv.marks {
            room.has_marked(mark.author, Marked { delivered: mark.delivered, read: mark.read });
        }
        let waits = room.life.as_ref().is_some_and(|life| life.state.status == ThreadStatus::Queued);
        // What was told meanwhile is newer than what was read.
        room.queue = room.queue.or_else(|| content.queue()).filter(|_| waits);
        let queue = room.queue;
        let Some(member) = room.feed(place.audience).and_then(|state| state.member(conn)) else { return };
        let Content { mut conv, tally, authors, visitor_name, missed } = content;
        member.counts_from(tally);
        if let Some(thread) = conv.thread.as_mut().filter(|thread| thread.status == ThreadStatus::Queued) {
            thread.queue = queue;
        }
        let tenant = place.home.tenant;
        let people = core.people(&member.conn, tenant, authors, visitor_name.as_deref());
        match then {
            Then::Announce(view) => {
                let available = ConversationAvailable { view, conversation: conv, people };
                member.conn.push("conversation_available", available);
                self.on_go(place, conn);
            }
            Then::Hold(done) => {
                let lead = match missed {
                    None => Vec::new(),
                    Some(missed) => {
                        let lead = self.lead(place, conn, missed, &conv, visitor_name.as_deref());
                        (conv.events, conv.cursor) = (None, None);
                        lead
                    }
                };
                let member = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
                if let Some(Member { mode: Mode::Held(held), .. }) =
                    member.and_then(|state| state.member(conn))
                {
                    held.lead = lead;
                }
                if done.send(Ok(Joined { conv: Some(conv), people })).is_err() {
                    self.remove(place, conn);
                }
            }
        }
    }

    /// What goes before everything else to a client that resumes.
    fn lead(
        &mut self,
        place: Place,
        conn: u64,
        missed: Missed,
        conv: &bus_schema::protocol::Conv,
        name: Option<&str>,
    ) -> Vec<Outgoing> {
        let core = self.core.clone();
        let Place { home, audience } = place;
        let state = self.rooms.get_mut(&home).and_then(|room| room.feed(audience));
        let Some(member) = state.and_then(|state| state.member(conn)) else { return Vec::new() };
        match missed {
            Missed::Reset(reason) => {
                core.measures.reset.increment(1);
                let (conversation_id, conversation) = (home.conversation, conv.clone());
                vec![push("reset", Reset { conversation_id, reason, conversation, people: Vec::new() })]
            }
            Missed::Events { from, tally, entries, room } => {
                core.measures.resumed.increment(1);
                core.measures.replayed.increment(entries.len() as u64);
                let mut client = ReaderAt { position: from, tally, reader: member.reader };
                let mut frames = Vec::with_capacity(entries.len() + 1);
                for entry in entries {
                    client.gets(&entry);
                    let load::Entry { message, late, .. } = entry;
                    let author = chat::Head::decode(&message.payload).ok().map(|head| head.author);
                    let people = core.people(&member.conn, home.tenant, author, name);
                    let shared = encode::shared(home, message.seq, message.at, &message.payload, late);
                    let (position, tally) = (client.position, client.tally.clone());
                    let cursor = core.cursor(home, audience, member.principal, position, tally);
                    frames.push(encode::event(shared, &cursor, &people));
                }
                let (conversation_id, cursor) = (home.conversation, conv.cursor.clone().unwrap_or_default());
                let last = push("caught_up", CaughtUp { conversation_id, cursor });
                // When the last of them is written, or given up, so are all before it.
                frames.push(match room {
                    Some(room) => last.keeping(room),
                    None => last,
                });
                frames
            }
        }
    }

    /// The snapshot is on its way to the client: what waited follows it.
    pub(super) fn on_go(&mut self, place: Place, conn: u64) {
        let state = self.rooms.get_mut(&place.home).and_then(|room| room.feed(place.audience));
        let Some(member) = state.and_then(|state| state.member(conn)) else { return };
        // Who waits for a conversation to begin goes on waiting.
        if let Mode::Held(held) = &mut member.mode {
            let held = std::mem::take(held);
            member.mode = Mode::Live;
            if !held.lead.is_empty() {
                member.conn.outbox.replay(held.lead);
            }
            for frame in held.frames {
                member.conn.outbox.push(frame);
            }
        }
        if member.ended {
            return self.gone(place, conn);
        }
        for join in std::mem::take(&mut member.pending) {
            self.when_current(place, Waiter::Join(join));
        }
    }
}

pub(super) fn push<T: Serialize>(action: &'static str, payload: T) -> Outgoing {
    let frame = serde_json::to_vec(&Push::new(action, payload));
    Outgoing::text(frame.expect("pushes hold only strings, numbers and string-keyed maps"))
}
