//! What people do beside sending: typing, previews, marks.
//!
//! Invariant: a refusal is told only by what the leader says; what the room knows may be old.

use bus_schema::{
    Audience, Author, ErrorBody, ErrorCode,
    protocol::{Done as Answered, SignalKind},
    signal::Signal,
    state::LifeState,
    subject::ConversationSubjects,
};
use futures::FutureExt as _;
use ops::chat::{self, Life, MarkKind, Marked, NewMark, Tail};
use tokio::time::Instant;

use super::{
    io::{Done, Place},
    marks::{Asked, Due, Key as Marker},
    sends::{Sender, refuse},
    signals::Key,
    window::Load,
    worker::Worker,
};
use crate::conn::Reply;

/// Something that somebody does in a conversation.
#[derive(Debug)]
pub struct Act {
    pub reply: Reply,
    pub home: ConversationSubjects,
    pub audience: Audience,
    pub author: Author,
    pub sender: Sender,
    pub deed: Deed,
}

#[derive(Debug)]
pub enum Deed {
    Signal(SignalKind, Signal),
    Mark { kind: MarkKind, up_to: u64 },
}

/// What may be done.
enum Allowed {
    Yes(Life),
    /// A watcher's mark: its own, and no event.
    Unseen,
}

impl Worker {
    pub(super) fn on_act(&mut self, act: Box<Act>) {
        let known = self.rooms.get_mut(&act.home).and_then(|room| {
            let feed = room.feed(act.audience).and_then(|state| state.feed.as_ref());
            let end = feed.map_or(0, |feed| feed.position().into_iter().max().unwrap_or(0));
            Some((room.life.clone()?, end))
        });
        match known.map(|(life, end)| (self.allowed(&act, Some(&life), end), end)) {
            Some((Ok(allowed), _)) => self.carry_out(*act, allowed),
            Some((Err(_), _)) | None => {
                let (log, place) = (self.log(act.home), Place { home: act.home, audience: act.audience });
                let look = async move {
                    let result = chat::tail(&log, place.home, place.audience).await;
                    Done::Looked { act, result }
                };
                self.work.push(look.boxed());
            }
        }
    }

    /// The leader has answered.
    pub(super) fn on_looked(&mut self, act: Act, result: Result<Tail, ErrorBody>) {
        let tail = match result {
            Ok(tail) => tail,
            Err(error) => return act.reply.fail(error),
        };
        match self.allowed(&act, tail.life.as_ref(), tail.end()) {
            Ok(allowed) => self.carry_out(act, allowed),
            Err(refused) => act.reply.fail(refused),
        }
    }

    fn allowed(&mut self, act: &Act, life: Option<&Life>, end: u64) -> Result<Allowed, ErrorBody> {
        let life = life.ok_or(ErrorCode::NotFound)?;
        let core = self.core.clone();
        let may_say = |state: &LifeState| act.sender.may_take_part(&core.directory.now(), state);
        match act.deed {
            Deed::Signal(..) => {
                may_say(&life.state)?;
                if !life.is_open() {
                    return Err(ErrorCode::ThreadClosed.into());
                }
            }
            Deed::Mark { up_to, .. } => {
                let refused = may_say(&life.state).err();
                if let Some(refused) = refused {
                    let state = self.rooms.get_mut(&act.home).and_then(|room| room.feed(act.audience));
                    let watches = state.and_then(|state| state.member(act.reply.conn.id)).is_some();
                    let visible = refused.code == ErrorCode::NotParticipant;
                    return if visible && watches { Ok(Allowed::Unseen) } else { Err(refused) };
                }
                if up_to > end {
                    return Err(ErrorBody::field("/payload/up_to_seq", "there is nothing as late as that"));
                }
            }
        }
        Ok(Allowed::Yes(life.clone()))
    }

    fn carry_out(&mut self, act: Act, allowed: Allowed) {
        let Act { reply, home, author, deed, .. } = act;
        let Allowed::Yes(life) = allowed else { return reply.ok(&Answered {}) };
        match deed {
            Deed::Signal(kind, signal) => {
                reply.ok(&Answered {});
                if let Some(signal) = self.signals.offer(Key { home, author, kind }, signal, Instant::now()) {
                    self.pass_on(home, signal);
                }
            }
            // What lies before the thread is covered by whoever reads the thread.
            Deed::Mark { up_to, .. } if up_to < life.started_seq() => reply.ok(&Answered {}),
            Deed::Mark { kind, up_to } => {
                let room = self.rooms.entry(home).or_default();
                room.learn(&life);
                let known = room.marks.get(&author).copied().unwrap_or_default();
                let asked = Asked { kind, up_to, thread: life.state.thread_id, conn: reply.conn.id, reply };
                match self.marks.ask((home, author), known, asked, Instant::now()) {
                    Ok(answered) => answered.into_iter().for_each(|reply| reply.ok(&Answered {})),
                    Err(reply) => refuse(reply),
                }
                self.write_mark((home, author));
                self.tidy(home);
            }
        }
    }

    pub(super) fn pass_on(&mut self, home: ConversationSubjects, signal: Signal) {
        let core = self.core.clone();
        let told = async move {
            core.signal(home, &signal).await;
            Done::Told
        };
        self.work.push(told.boxed());
    }

    /// Signals that were held, marks that waited.
    pub(super) fn on_pace(&mut self, now: Instant) {
        for (home, signal) in self.signals.due(now) {
            self.pass_on(home, signal);
        }
        for marker in self.marks.due(now) {
            self.write_mark(marker);
        }
    }

    fn write_mark(&mut self, marker: Marker) {
        let (home, author) = marker;
        // Without room in the window the next tick tries again.
        if !self.window.admits(home.tenant) {
            return;
        }
        let Some(due) = self.marks.begin(marker, Instant::now()) else { return };
        self.window.begin(load(home));
        let log = self.log(home);
        let write = async move {
            let Due { kind, up_to, thread } = due;
            let result = chat::mark(&log, &NewMark { home, thread, author, kind, up_to }).await;
            Done::Marked { marker, due, result: result.map(|_| ()) }
        };
        self.work.push(write.boxed());
    }

    pub(super) fn on_marked(&mut self, marker: Marker, due: Due, result: Result<(), ErrorBody>) {
        let Due { kind, up_to, .. } = due;
        self.window.end(load(marker.0), result.is_ok(), Instant::now());
        if result.is_ok()
            && let Some(room) = self.rooms.get_mut(&marker.0)
        {
            room.has_marked(marker.1, Marked::of(kind, up_to));
        }
        for reply in self.marks.written(marker, kind, up_to, result.is_ok()) {
            reply.with(result.clone().map(|()| Answered {}));
        }
        self.unblock();
    }
}

/// A mark is too small to be counted in bytes.
const fn load(home: ConversationSubjects) -> Load {
    Load { tenant: home.tenant, bytes: 0 }
}
