//! How a planted bug changes what passes between the real decisions and the model.

use std::time::Duration;

use bus_schema::{
    Body, ErrorBody, ErrorCode, Lane, Subject, Timestamp,
    command::{Answer, Outcome},
    config::{Record, WhenOffline},
    state::{AgentState, DecisionRule, DeskState, Priority, RoutingStatus},
};

use super::{bugs::Bug, bus::Expect, random::Random};
use crate::routing::{Message, Settings, Stored, Write};

/// Instants of starts are mirrored in this one.
const MIRROR: i64 = 4_000_000_000_000;

pub fn settings(bug: Option<Bug>, mut settings: Settings) -> Settings {
    if bug == Some(Bug::GraceSkipped) {
        settings.agent_grace = Duration::ZERO;
    }
    settings
}

/// The configuration on its way to a core.
pub fn config(bug: Option<Bug>, mut record: Record) -> Record {
    if let Record::Group(group) = &mut record {
        match bug {
            Some(Bug::HoursIgnored) => group.routing.hours = None,
            Some(Bug::MembersForgotten) if group.when_offline == WhenOffline::Keep => group.members.clear(),
            Some(Bug::QueueMaxIgnored) => group.queue_max = None,
            Some(Bug::WhenOfflineIgnored) => group.when_offline = WhenOffline::Keep,
            _ => {}
        }
    }
    record
}

/// A message of the log on its way to a core.
pub fn heard(bug: Option<Bug>, mut stored: Stored) -> Stored {
    let Some(event) = stored.event.as_deref_mut() else { return stored };
    match bug {
        Some(Bug::CapacityOffByOne) => {
            if let Some(state) = agent_state(&mut event.body) {
                state.capacity += 1;
            }
        }
        Some(Bug::TurnsForgotten) => {
            if let Some(state) = agent_state(&mut event.body) {
                state.last_assigned_at = None;
            }
        }
        Some(Bug::AwayIgnored) => {
            if let Some(state) = agent_state(&mut event.body) {
                state.status = RoutingStatus::Accepting;
            }
        }
        Some(Bug::LeavingForgotten) => {
            if let Some(state) = agent_state(&mut event.body) {
                state.left_at = None;
            }
        }
        Some(Bug::DedupeLost) => {
            event.cause = None;
            if let Some(state) = agent_state(&mut event.body) {
                state.commands.clear();
            }
            if let Some(state) = desk_state(&mut event.body) {
                state.commands.clear();
            }
        }
        Some(Bug::PriorityIgnored) => {
            if let Some(state) = desk_state(&mut event.body) {
                state.priority = Priority::Normal;
            }
        }
        Some(Bug::FifoBroken) => {
            if let Some(entry) = desk_state(&mut event.body).and_then(|state| state.queue.as_mut()) {
                entry.since = Timestamp::from_millis(MIRROR - entry.since.millis());
            }
        }
        _ => {}
    }
    stored
}

/// A decision on its way to the bus.
pub fn decided(bug: Option<Bug>, mut write: Write, now: Timestamp) -> Write {
    match bug {
        Some(Bug::CapacityOffByOne) => {
            for state in write.messages.iter_mut().filter_map(|message| agent_state(&mut message.event.body))
            {
                state.capacity = state.capacity.saturating_sub(1);
            }
        }
        Some(Bug::RequeuedAtTail) => {
            let lost = write.messages.iter().any(|message| matches!(message.event.body, Body::AgentLost(_)));
            for state in write.messages.iter_mut().filter_map(|message| desk_state(&mut message.event.body)) {
                if let Some(entry) = state.queue.as_mut().filter(|_| lost) {
                    entry.since = now;
                }
            }
        }
        Some(Bug::Unexplained) if write.messages.len() > 1 => {
            write.messages.retain(|message| !matches!(message.event.body, Body::Decided(_)));
        }
        Some(Bug::SlotKept) if write.messages.iter().any(|m| matches!(m.event.body, Body::Closed(_))) => {
            write.messages.retain(|message| !matches!(message.subject, Subject::Agent { .. }));
        }
        _ => {}
    }
    write
}

/// The expectation that a message of a decision is sent with.
pub fn expect(bug: Option<Bug>, write: &Write, message: &Message) -> Expect {
    let dropped = match bug {
        Some(Bug::ExpectationDropped) => matches!(message.subject, Subject::Agent { .. }),
        Some(Bug::TakeNotFenced) => {
            let lane = message.subject.conversation().map(|(_, lane)| lane);
            matches!(lane, Some(Lane::Life | Lane::Desk)) && is_take(write)
        }
        Some(Bug::StateNotFenced) => {
            let desk = |message: &Message| matches!(message.subject.conversation(), Some((_, Lane::Desk)));
            write.messages.iter().all(desk)
        }
        _ => false,
    };
    message.expected.filter(|_| !dropped).map_or(Expect::Anything, Expect::Own)
}

/// A timer's doing.
pub fn is_timers(write: &Write) -> bool {
    write.messages.iter().any(|message| {
        matches!(
            message.event.body,
            Body::AgentLost(_) | Body::Unanswered(_) | Body::Idle(_) | Body::SkillsWaived(_)
        )
    })
}

/// An agent accepts chats from now on.
pub fn accepts(stored: &Stored) -> bool {
    match stored.event.as_deref().map(|event| &event.body) {
        Some(Body::AgentStatusSet(set)) => set.state.status == RoutingStatus::Accepting,
        _ => false,
    }
}

/// What a command was answered.
pub fn answered(bug: Option<Bug>, mut outcome: Outcome, random: &mut Random) -> Outcome {
    let Outcome::Accepted { answer: Answer::Thread { seq, .. } } = &mut outcome else { return outcome };
    match bug {
        Some(Bug::DoneAndRefused) if random.chance(50) => ErrorBody::from(ErrorCode::Conflict).into(),
        Some(Bug::AnswerMisplaced) if random.chance(50) => {
            *seq += 1;
            outcome
        }
        _ => outcome,
    }
}

fn is_take(write: &Write) -> bool {
    write.messages.iter().any(|message| match &message.event.body {
        Body::Decided(decided) => decided.decision.rule == DecisionRule::Taken,
        _ => false,
    })
}

fn agent_state(body: &mut Body) -> Option<&mut AgentState> {
    match body {
        Body::AgentConnected(data) => Some(&mut data.state),
        Body::AgentDisconnected(data) => Some(&mut data.state),
        Body::AgentStatusSet(data) => Some(&mut data.state),
        Body::AgentCapacitySet(data) => Some(&mut data.state),
        Body::AgentLoad(data) => Some(&mut data.state),
        _ => None,
    }
}

fn desk_state(body: &mut Body) -> Option<&mut DeskState> {
    match body {
        Body::Decided(data) => Some(&mut data.state),
        Body::Offered(data) => Some(&mut data.state),
        Body::Declined(data) => Some(&mut data.state),
        Body::Unanswered(data) => Some(&mut data.state),
        Body::PrioritySet(data) => Some(&mut data.state),
        Body::SkillsSet(data) => Some(&mut data.state),
        Body::SkillsWaived(data) => Some(&mut data.state),
        _ => None,
    }
}
