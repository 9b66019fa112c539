//! What a router does that has read one half of what was stored together, or was away for a while.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::{
    Lane, Shard, Subject, Timestamp,
    command::{Command, CommandRequest},
    state::{CloseReason, Priority, Strategy},
};
use uuid::Uuid;

use super::super::{Effect, Input, Routing, Stored, Token, Write, WriteFailure, invariants};
use super::world::*;

fn agent_subject(n: u128) -> Subject {
    Subject::Agent { shard: Shard(0), tenant: TENANT, agent: agent(n) }
}

/// Another router, which has read the log without the messages after `known` of one subject.
fn behind(world: &World, subject: Subject, known: u64) -> Routing {
    let mut routing = Routing::new(settings(77));
    for stored in world.bus.log.iter().filter(|stored| stored.subject != subject || stored.seq <= known) {
        routing.handle(Input::Log(stored.clone()), world.now);
    }
    routing.handle(Input::Activate, world.now);
    let _decided_on_the_way = effects(&mut routing);
    routing
}

fn effects(routing: &mut Routing) -> Vec<Effect> {
    std::iter::from_fn(|| routing.poll_effect()).collect()
}

fn refreshes(effects: &[Effect]) -> Vec<Subject> {
    let refresh =
        |effect: &Effect| if let Effect::Refresh { subject } = effect { Some(*subject) } else { None };
    effects.iter().filter_map(refresh).collect()
}

fn writes(effects: Vec<Effect>) -> Vec<Write> {
    let write = |effect| if let Effect::Write(write) = effect { Some(write) } else { None };
    effects.into_iter().filter_map(write).collect()
}

#[test]
fn a_close_gives_the_slot_back_also_where_the_agent_was_not_read_yet() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    let known = world.bus.last_seq(agent_subject(1));
    let thread = world.start(1);
    assert_eq!(world.assignee(1), Some(agent(1)));
    let mut other = behind(&world, agent_subject(1), known);

    let command = Command::Close {
        conversation_id: conversation(1),
        thread_id: Some(thread),
        reason: CloseReason::Resolved,
    };
    let command_id = bus_schema::CommandId::from_uuid(Uuid::from_u128(1));
    let request = CommandRequest { command_id, actor: supervisor(), deadline: None, command };
    other.handle(Input::Command { token: Token(1), tenant: TENANT, request }, world.now);
    let asked = effects(&mut other);
    assert_eq!(refreshes(&asked), [agent_subject(1)]);
    assert!(writes(asked).is_empty(), "half of what it would change is not known");

    let (subject, last) = (agent_subject(1), world.bus.last(agent_subject(1)));
    other.handle(Input::Refreshed { subject, last }, world.now);
    let write = writes(effects(&mut other)).pop().expect("it goes on");
    let subjects: BTreeSet<Subject> = write.messages.iter().map(|message| message.subject).collect();
    assert!(subjects.contains(&agent_subject(1)) && subjects.contains(&life_subject(conversation(1))));
}

#[test]
fn who_was_removed_loses_a_thread_only_with_the_threads_own_word() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    let id = conversation(1);
    world.start(1);
    world.close(1, supervisor());
    let closed = world.bus.last_seq(life_subject(id));
    world.start(1);
    // The agent holds a thread that is not known to have begun.
    let mut other = behind(&world, life_subject(id), closed);
    let record = bus_schema::config::AgentRecord { deleted: true, ..agent_record(agent(1), 1, 99) };
    other.handle(Input::Config(bus_schema::config::Record::Agent(record)), world.now);
    // It is written that the agent was removed, and then their thread is looked after.
    let removed = writes(effects(&mut other)).pop().expect("the state says so as well");
    assert!(
        removed.messages[0].event.body.agent_state().is_some_and(|state| state.deleted && state.holds(id))
    );
    let seqs = vec![world.bus.log.len() as u64 + 1];
    other.handle(Input::Written { id: removed.id, seqs }, world.now);
    let asked = effects(&mut other);
    assert_eq!(refreshes(&asked), [life_subject(id)]);
    assert!(writes(asked).is_empty());
}

#[test]
fn the_routing_state_of_the_next_thread_is_kept_where_it_is_read_before_the_thread() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    let id = conversation(1);
    world.start(1);
    world.close(1, supervisor());
    let closed = world.bus.last_seq(life_subject(id));
    world.start(1);
    world.set_priority(1, Priority::High, supervisor());
    let desk = Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation: id, lane: Lane::Desk };

    let mut other = Routing::new(settings(77));
    let (before, after): (Vec<Stored>, Vec<Stored>) =
        world.bus.log.iter().cloned().partition(|stored| stored.seq <= closed || stored.subject == desk);
    for stored in before.into_iter().chain(after) {
        other.handle(Input::Log(stored), world.now);
    }
    assert_eq!(invariants::check(&other), Vec::<String>::new());
}

#[test]
fn what_is_wanted_of_a_closed_thread_is_not_written_over_the_next_ones_routing_state() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    let id = conversation(1);
    let thread = world.start(1);
    let known = world.bus.log.len() as u64;
    world.close(1, supervisor());
    world.start(1);
    let desk = Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation: id, lane: Lane::Desk };

    let mut other = Routing::new(settings(77));
    for stored in world.bus.log.iter().filter(|stored| stored.seq <= known) {
        other.handle(Input::Log(stored.clone()), world.now);
    }
    other.handle(Input::Activate, world.now);
    let _decided_on_the_way = effects(&mut other);
    let (conversation_id, thread_id, priority) = (id, Some(thread), Priority::High);
    let command = Command::SetPriority { conversation_id, thread_id, priority };
    let command_id = bus_schema::CommandId::from_uuid(Uuid::from_u128(1));
    let request = CommandRequest { command_id, actor: supervisor(), deadline: None, command };
    other.handle(Input::Command { token: Token(1), tenant: TENANT, request }, world.now);
    let write = writes(effects(&mut other)).pop().expect("as far as it knows");
    other.handle(Input::WriteFailed { id: write.id, why: WriteFailure::Mismatch }, world.now);
    assert_eq!(refreshes(&effects(&mut other)), [desk]);

    other.handle(Input::Refreshed { subject: desk, last: world.bus.last(desk) }, world.now);
    let next = effects(&mut other);
    let lone = |write: &Write| write.messages.iter().all(|message| message.subject == desk);
    assert_eq!(refreshes(&next), [life_subject(id)]);
    assert!(!writes(next).iter().any(lone));
}

#[test]
fn a_router_that_was_paused_takes_no_edge_for_dead_that_it_did_not_look_for() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.disconnect(agent(1), edge(1), 2);
    world.connect(agent(1), edge(2), 1);
    world.now = Timestamp::from_millis(world.now.millis() + 60_000);
    world.input(Input::Tick);
    assert!(world.state(agent(1)).is_connected(), "nobody listed leases meanwhile");
    world.wait(GRACE + Duration::from_secs(1));
    assert!(!world.state(agent(1)).is_connected());
}
