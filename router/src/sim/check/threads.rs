//! What a thread's messages must never say.

use std::rc::Rc;

use bus_schema::{
    Body, ConversationId, Lane, Timestamp,
    event::Kind,
    state::{CloseReason, DeadlineKind, LifeState, ThreadStatus},
};

use super::{
    Found,
    ledger::{Kept, Ledger},
};
use crate::sim::{bus::Stored, world::Payload};

/// What clocks may differ by, twice, and a little for what was decided and took its time.
const EARLY_MS: u64 = 2_200;

pub fn message(
    ledger: &mut Ledger,
    id: ConversationId,
    lane: Lane,
    stored: &Stored<Rc<Payload>>,
) -> Result<(), Found> {
    let event = &stored.payload.event;
    match lane {
        Lane::Life => life(ledger, id, stored),
        Lane::Desk => {
            let Some(state) = event.body.desk_state() else {
                return Err(("well-formed", format!("{} is no routing state", stored.seq)));
            };
            if matches!(event.body, Body::SkillsWaived(_))
                && ledger.desk(id).is_some_and(|kept| kept.state.skills_waived)
            {
                return Err(("timers-fire-once", format!("{}: skills were waived before", stored.seq)));
            }
            let open = ledger.desk(id).filter(|open| open.state.thread_id != state.thread_id);
            if let Some(open) = open {
                let what = format!("{}: {id} is of {} at {}", stored.seq, open.state.thread_id, open.seq);
                return Err(("open-threads-keep-their-state", what));
            }
            ledger.desks.insert(id, Kept { state: state.clone(), seq: stored.seq });
            Ok(())
        }
        _ => {
            let ends = event.body.kind().is_some_and(Kind::ends_with_thread);
            match event.thread_id.filter(|thread| ends && ledger.closed.contains(thread)) {
                Some(thread) => {
                    Err(("closed-is-closed", format!("{} is said in {thread}, which is closed", stored.seq)))
                }
                None => Ok(()),
            }
        }
    }
}

fn life(ledger: &mut Ledger, id: ConversationId, stored: &Stored<Rc<Payload>>) -> Result<(), Found> {
    let (seq, body) = (stored.seq, &stored.payload.event.body);
    let Some(state) = body.life_state() else {
        return Err(("well-formed", format!("{seq} is no state of a thread")));
    };
    let open = ledger.open(id).cloned();
    let starts = matches!(body, Body::Started(_) | Body::Reopened(_));
    if open.is_some() == starts || open.as_ref().is_some_and(|life| life.thread_id != state.thread_id) {
        return Err(("one-thread", format!("{seq}: {} of {id}, of which {open:?} is open", body.name())));
    }
    if ledger.closed.contains(&state.thread_id) {
        return Err(("closed-is-closed", format!("{seq}: {} of a closed thread", body.name())));
    }
    let active = state.status == ThreadStatus::Active;
    if active != state.assignee_id.is_some() {
        return Err(("one-assignee", format!("{seq}: status {:?}, {:?}", state.status, state.assignee_id)));
    }
    if let Some(before) = &open {
        once(body, before, seq)?;
        due(ledger, id, body, stored.at)?;
    }
    if state.status == ThreadStatus::Closed {
        ledger.closed.insert(state.thread_id);
    }
    let mut state = state.clone();
    if starts {
        (state.started_at, state.started_seq) = (stored.at, Some(seq));
    } else if state.started_seq.is_none() {
        // Within the batch that starts it nobody knows its sequence yet.
        state.started_seq = open.and_then(|life| life.started_seq).filter(|started| *started == seq - 1);
        if state.started_seq.is_none() {
            return Err(("well-formed", format!("{seq} does not say where its thread started")));
        }
    }
    ledger.lives.insert(id, Kept { state, seq });
    Ok(())
}

/// What a timer did it does not do again.
fn once(body: &Body, before: &LifeState, seq: u64) -> Result<(), Found> {
    let again = match body {
        Body::AgentLost(lost) => before.assignee_id != Some(lost.agent_id),
        Body::Assigned(assigned) => before.assignee_id == Some(assigned.agent_id),
        _ => false,
    };
    if again { Err(("timers-fire-once", format!("{seq}: {} again", body.name()))) } else { Ok(()) }
}

/// What a deadline does it does not do before.
fn due(ledger: &Ledger, id: ConversationId, body: &Body, at: Timestamp) -> Result<(), Found> {
    let kind = match body {
        Body::Closed(closed) if closed.reason == CloseReason::QueueTimeout => DeadlineKind::Queue,
        Body::Closed(closed) if closed.reason == CloseReason::Idle => DeadlineKind::IdleClose,
        Body::Closed(closed) if closed.reason == CloseReason::VisitorGone => DeadlineKind::VisitorGone,
        _ => return Ok(()),
    };
    let desk = ledger.desk(id);
    let deadlines = desk.into_iter().flat_map(|kept| &kept.state.deadlines);
    let ends = deadlines.filter(|deadline| deadline.kind == kind).map(|deadline| deadline.at).min();
    let early = ends.is_none_or(|ends| at.plus(std::time::Duration::from_millis(EARLY_MS)) < ends);
    if early && !ledger.clocks_are_wild {
        return Err(("timers-fire-when-due", format!("{id} is closed, and that is due at {ends:?}")));
    }
    Ok(())
}

/// Whatever a router does to a thread has its reasons beside it, and who lost their agent keep their place.
pub fn explained(ledger: &Ledger, batch: &[Stored<Rc<Payload>>]) -> Result<(), Found> {
    for stored in batch {
        let event = &stored.payload.event;
        let Some((id, Lane::Life)) = stored.subject.conversation() else { continue };
        let desk = batch.iter().find(|other| other.subject.conversation() == Some((id, Lane::Desk)));
        let desk = desk.map(|other| &other.payload.event.body);
        let told = match (&event.body, desk) {
            (Body::Assigned(assigned), Some(Body::Decided(decided))) => {
                decided.decision.chosen == Some(assigned.agent_id)
            }
            (Body::Assigned(_) | Body::Queued(_) | Body::Idle(_) | Body::AgentLost(_), None) => false,
            (Body::AgentLost(_), Some(Body::Unanswered(_) | Body::Decided(_))) => true,
            _ => true,
        };
        if !told {
            return Err(("explained", format!("{}: {} without its reasons", stored.seq, event.body.name())));
        }
        if let (Body::AgentLost(_), Some(life)) = (&event.body, ledger.open(id)) {
            let entry = desk.and_then(Body::desk_state).and_then(|state| state.queue.as_ref());
            let place = entry.map(|entry| entry.since);
            if place != Some(life.started_at) {
                return Err(("fifo", format!("{}: {id} lost its place: {place:?}", stored.seq)));
            }
        }
    }
    Ok(())
}
