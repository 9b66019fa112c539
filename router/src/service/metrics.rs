//! The router's metrics: names, labels from closed sets, and what feeds them.

use std::time::Duration;

use bus_schema::{
    Body, ConversationId,
    command::Outcome,
    event::AgentLostReason,
    state::{CloseReason, Decision, DecisionRule, ThreadStatus},
};
use metrics::{counter, gauge, histogram};
use ops::metrics::{Metric, counter as counter_of, gauge as gauge_of, histogram as histogram_of};

use super::clock;
use crate::routing::{Counters, Stats, Write};

const ASSIGNMENTS: &str = "chatbus_router_assignments_total";
const DECISION: &str = "chatbus_router_decision_duration_seconds";
const WAIT: &str = "chatbus_router_queue_wait_seconds";
const COMMANDS: &str = "chatbus_router_commands_total";
const COMMAND: &str = "chatbus_router_command_duration_seconds";
const WRITES: &str = "chatbus_router_writes_total";
const REASSIGNMENTS: &str = "chatbus_router_reassignments_total";
const MENDED: &str = "chatbus_router_mended_total";
const UNREADABLE: &str = "chatbus_router_unreadable_total";
const LEADER: &str = "chatbus_router_leader";
const QUEUED: &str = "chatbus_router_queued_conversations";
const OLDEST: &str = "chatbus_router_oldest_queued_seconds";
const OPEN: &str = "chatbus_router_open_conversations";
const AGENTS: &str = "chatbus_router_agents";
const SLOTS: &str = "chatbus_router_agent_slots";
const LAG: &str = "chatbus_router_log_lag_messages";
const LAG_SECONDS: &str = "chatbus_router_log_lag_seconds";
const SIGNALS: &str = "chatbus_router_signals_total";
const TIMERS: &str = "chatbus_router_timers_total";
const OVER_BUDGET: &str = "chatbus_router_starts_over_budget_total";
const IN_FLIGHT: &str = "chatbus_router_writes_in_flight";

const TABLE: &[Metric] = &[
    counter_of(ASSIGNMENTS, "Decisions that were stored, by strategy and what came of them."),
    histogram_of(DECISION, "Time from an input to the decision that it caused."),
    histogram_of(WAIT, "Time from a thread's start to its assignment."),
    counter_of(COMMANDS, "Commands, by name and outcome."),
    histogram_of(COMMAND, "Time from a command's arrival to its answer."),
    counter_of(WRITES, "Batches written, by what came of them."),
    counter_of(REASSIGNMENTS, "Conversations taken from agents who were lost."),
    counter_of(MENDED, "Violations that a sweep had to put right: should stay 0."),
    counter_of(UNREADABLE, "States that could not be read; their subjects are left alone."),
    gauge_of(LEADER, "1 while this router decides, 0 while it stands by."),
    gauge_of(QUEUED, "Threads that wait."),
    gauge_of(OLDEST, "How long the longest of them has waited."),
    gauge_of(OPEN, "Open threads."),
    gauge_of(AGENTS, "Agents by what others see of them."),
    gauge_of(SLOTS, "Conversations that agents hold, or could take now."),
    gauge_of(LAG, "Messages of the log that were not read yet."),
    gauge_of(LAG_SECONDS, "Age of the last message read while there are more."),
    counter_of(SIGNALS, "Signals, by whether there was room for them."),
    counter_of(TIMERS, "What was due and was done, by kind."),
    counter_of(OVER_BUDGET, "Starts refused because too many conversations of their tenant are open."),
    gauge_of(IN_FLIGHT, "Batches whose outcome is not known yet."),
];

pub fn describe() {
    ops::metrics::describe(TABLE);
    gauge!(LEADER).set(0.0);
}

pub fn leader(active: bool) {
    gauge!(LEADER).set(if active { 1.0 } else { 0.0 });
}

pub fn signalled(taken: bool) {
    counter!(SIGNALS, "outcome" => if taken { "taken" } else { "dropped" }).increment(1);
}

pub fn lag(pending: u64, age: Duration) {
    gauge!(LAG).set(pending as f64);
    gauge!(LAG_SECONDS).set(if pending == 0 { 0.0 } else { age.as_secs_f64() });
}

/// A batch that was stored.
pub fn stored(write: &Write) {
    for message in &write.messages {
        if let Some(kind) = timer(&message.event.body) {
            counter!(TIMERS, "kind" => kind).increment(1);
        }
        let Body::Decided(decided) = &message.event.body else { continue };
        let decision = &decided.decision;
        let Some(outcome) = outcome(write, message.event.conversation_id, decision) else { continue };
        let strategy = decision.strategy.map_or("person", |strategy| strategy.name());
        counter!(ASSIGNMENTS, "strategy" => strategy, "outcome" => outcome).increment(1);
        histogram!(DECISION, "strategy" => strategy).record(decision.took_us as f64 / 1e6);
        if let (Some(_), Some(since)) = (decision.chosen, decision.waiting_since) {
            histogram!(WAIT, "outcome" => "assigned").record(clock::now().since(since));
        }
    }
}

/// What came of a decision about who has a thread; none where it was about something else.
fn outcome(write: &Write, id: Option<ConversationId>, decision: &Decision) -> Option<&'static str> {
    match (decision.chosen, decision.rule) {
        (
            None,
            DecisionRule::Joined
            | DecisionRule::Left
            | DecisionRule::TimedOut
            | DecisionRule::VisitorLeft
            | DecisionRule::VisitorBack,
        ) => None,
        (Some(_), _) => Some("assigned"),
        (None, DecisionRule::AgentLost) => Some("agent_lost"),
        (None, _) => {
            let of = write.messages.iter().rev().filter(|message| message.event.conversation_id == id);
            let life = of.filter_map(|message| message.event.body.life_state()).next();
            let closed = life.is_some_and(|life| life.status == ThreadStatus::Closed);
            Some(if closed { "turned_away" } else { "queued" })
        }
    }
}

/// Which timer wrote this.
fn timer(body: &Body) -> Option<&'static str> {
    match body {
        Body::Idle(_) => Some("idle"),
        Body::SkillsWaived(_) => Some("skills_waive"),
        Body::Unanswered(_) => Some("answer"),
        Body::Closed(closed) => match closed.reason {
            CloseReason::Idle => Some("idle_close"),
            CloseReason::QueueTimeout => Some("queue"),
            CloseReason::VisitorGone => Some("visitor_gone"),
            _ => None,
        },
        Body::AgentLost(lost) if lost.reason == AgentLostReason::Disconnected => Some("agent_lost"),
        _ => None,
    }
}

pub fn answered(name: &'static str, outcome: &Outcome, took: Duration) {
    let outcome = match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Rejected { error } => error.code.name(),
    };
    counter!(COMMANDS, "command" => name, "outcome" => outcome).increment(1);
    histogram!(COMMAND, "command" => name).record(took);
}

pub fn counted(counters: &Counters) {
    counter!(WRITES, "outcome" => "begun").absolute(counters.writes);
    counter!(WRITES, "outcome" => "mismatch").absolute(counters.mismatches);
    counter!(WRITES, "outcome" => "refused").absolute(counters.refusals);
    counter!(WRITES, "outcome" => "in_doubt").absolute(counters.doubts);
    counter!(REASSIGNMENTS, "reason" => "agent_gone").absolute(counters.reassigned);
    counter!(MENDED).absolute(counters.mended);
    counter!(UNREADABLE).absolute(counters.unreadable);
    counter!(OVER_BUDGET).absolute(counters.over_budget);
}

pub fn measured(stats: &Stats) {
    let oldest = stats.oldest_queued.map_or(Duration::ZERO, |since| clock::now().since(since));
    gauge!(QUEUED).set(stats.queued as f64);
    gauge!(OLDEST).set(oldest.as_secs_f64());
    gauge!(OPEN).set(stats.open as f64);
    gauge!(AGENTS, "state" => "online").set(stats.accepting as f64);
    gauge!(AGENTS, "state" => "away").set(stats.not_accepting as f64);
    gauge!(AGENTS, "state" => "offline").set(stats.offline as f64);
    gauge!(SLOTS, "use" => "used").set(stats.slots_used as f64);
    gauge!(SLOTS, "use" => "free").set(stats.slots_free as f64);
    gauge!(IN_FLIGHT).set(stats.writes_in_flight as f64);
}
