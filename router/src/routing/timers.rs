//! When something is due for an open thread: worked out from what is stored, so a restart loses and repeats none.
//!
//! What people say is not followed message by message: before a timer that it would put off counts, the log is asked.

use std::time::Duration;

use bus_schema::{
    AuthorType, ThreadId, Timestamp,
    config::Rules,
    state::{Deadline, DeadlineKind, DeskState, ThreadStatus},
};

use super::{conversation::Conversation, settings::CLOCKS_DIFFER};

/// What is due, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// What was said meanwhile has to be known first.
    Look,
    QueueEnds,
    SkillsWaived,
    Unanswered,
    /// Nobody has said anything since then.
    Idle(Timestamp),
    IdleEnds,
    /// Whether the visitor is there has to be known first.
    AskEdges,
    /// The visitor has no connection; if none comes, the thread ends then.
    VisitorLeft(Timestamp),
    VisitorBack,
    VisitorGone,
}

/// Something a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub by: AuthorType,
    pub at: Timestamp,
}

/// What the log was seen to hold of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub thread: ThreadId,
    /// When it was asked.
    pub at: Timestamp,
    /// The last sequence that was read.
    pub up_to: u64,
    /// The last word of anybody, and of staff.
    last: Option<Timestamp>,
    answered: Option<Timestamp>,
    /// The visitor's first word after that of staff.
    waits: Option<Timestamp>,
}

impl Seen {
    pub const fn nothing(thread: ThreadId, at: Timestamp) -> Self {
        Self { thread, at, up_to: 0, last: None, answered: None, waits: None }
    }

    pub fn hear(&mut self, said: Said) {
        match said.by {
            AuthorType::Agent => (self.answered, self.waits) = (Some(said.at), None),
            AuthorType::Visitor => self.waits = self.waits.or(Some(said.at)),
            // A program's word is nobody's answer, and nobody's presence.
            AuthorType::Bot | AuthorType::System => return,
        }
        self.last = Some(said.at);
    }

    /// Since when the visitor waits for whoever was assigned then.
    fn waiting(&self, assigned: Timestamp) -> Option<Timestamp> {
        // The one is the bus's time, the other the writer's.
        let answered = self.answered.is_some_and(|at| at.plus(CLOCKS_DIFFER) >= assigned);
        if answered { self.waits } else { Some(assigned) }
    }
}

/// It waits in a queue from now on.
pub fn waits(desk: &mut DeskState, rules: &Rules, now: Timestamp) {
    clear(desk);
    set(desk, DeadlineKind::Queue, rules.queue_wait, now);
    wants_skills(desk, rules, now);
}

/// What it wants has changed while it waits.
pub fn wants_skills(desk: &mut DeskState, rules: &Rules, now: Timestamp) {
    desk.deadlines.retain(|deadline| deadline.kind != DeadlineKind::SkillsWaive);
    if !desk.skills.is_empty() && !desk.skills_waived {
        set(desk, DeadlineKind::SkillsWaive, rules.skills_waived_after, now);
    }
}

/// Somebody has it from now on.
pub fn served(desk: &mut DeskState, now: Timestamp) {
    clear(desk);
    desk.last_assigned_at = Some(now);
}

/// Nobody has said anything since then.
pub fn idle(desk: &mut DeskState, since: Timestamp, rules: &Rules, now: Timestamp) {
    clear(desk);
    desk.idle_since = Some(since);
    set(desk, DeadlineKind::IdleClose, rules.idle_closed_after, now);
}

fn clear(desk: &mut DeskState) {
    // The visitor's does not end with who serves them, and a newer neighbour's stay.
    let stays = |kind| matches!(kind, DeadlineKind::VisitorGone | DeadlineKind::Unknown);
    desk.deadlines.retain(|deadline| stays(deadline.kind));
    desk.idle_since = None;
}

fn set(desk: &mut DeskState, kind: DeadlineKind, after: Option<Duration>, now: Timestamp) {
    desk.deadlines.extend(after.map(|after| Deadline { kind, at: now.plus(after) }));
}

/// What is due next.
pub fn next(conversation: &Conversation, rules: &Rules) -> Option<Due> {
    let (life, desk) = conversation.life().zip(conversation.desk())?;
    let visitor = conversation.sight.due(desk, life.started_at, rules);
    let served = service(conversation, rules);
    visitor.into_iter().chain(served).filter(|_| life.status.is_open()).min_by_key(|due| due.at)
}

/// What is due next for who waits and who serves.
fn service(conversation: &Conversation, rules: &Rules) -> Option<Due> {
    let (life, desk) = conversation.life().zip(conversation.desk())?;
    match life.status {
        ThreadStatus::Queued => {
            let due = desk.deadlines.iter().filter_map(|deadline| {
                let what = match deadline.kind {
                    DeadlineKind::Queue => What::QueueEnds,
                    DeadlineKind::SkillsWaive => What::SkillsWaived,
                    _ => return None,
                };
                Some(Due { at: deadline.at, what })
            });
            due.min_by_key(|due| due.at)
        }
        ThreadStatus::Active => {
            let seen = conversation.seen.as_deref().filter(|seen| seen.thread == life.thread_id);
            let due = active(desk, seen, rules).min_by_key(|due| due.at)?;
            let known = seen.is_some_and(|seen| seen.at >= due.at);
            Some(if known { due } else { Due { what: What::Look, ..due } })
        }
        ThreadStatus::Closed => None,
    }
}

/// What would be due if nothing was said beyond what is seen.
fn active<'a>(
    desk: &'a DeskState,
    seen: Option<&'a Seen>,
    rules: &'a Rules,
) -> impl Iterator<Item = Due> + 'a {
    let assigned = desk.last_assigned_at;
    let unanswered = assigned.zip(rules.answer_within).map(|(assigned, within)| {
        let waiting = seen.map_or(Some(assigned), |seen| seen.waiting(assigned));
        // Whoever speaks next does it after the look.
        let from = waiting.or_else(|| seen.map(|seen| seen.at)).unwrap_or(assigned);
        Due { at: from.plus(within), what: What::Unanswered }
    });
    let last = assigned.map(|at| seen.and_then(|seen| seen.last).map_or(at, |last| last.max(at)));
    let told = desk.idle_since.zip(last).is_some_and(|(since, last)| since >= last);
    let idle = last.zip(rules.idle_after).map(|(last, after)| {
        let looked = seen.map(|seen| seen.at).filter(|_| told);
        Due { at: looked.unwrap_or(last).plus(after), what: What::Idle(last) }
    });
    let counts = told && rules.idle_after.is_some();
    let ends =
        desk.deadlines.iter().filter(move |deadline| counts && deadline.kind == DeadlineKind::IdleClose);
    let ends = ends.map(|deadline| Due { at: deadline.at, what: What::IdleEnds });
    unanswered.into_iter().chain(idle).chain(ends)
}
