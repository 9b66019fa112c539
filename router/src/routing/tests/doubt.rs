//! Writes that were given up although they may still be stored: whatever comes of them, it happens once.

use bus_schema::{
    Author, Body, CommandId, ErrorCode, Event,
    command::{Command, Outcome},
    event::Closed,
    state::{CloseReason, LifeState, Priority, Strategy, ThreadStatus},
};
use uuid::Uuid;

use super::super::{Input, Write, WriteFailure, settings::DOUBTS_PER_COMMAND_MAX};
use super::world::*;

fn give_up(world: &mut World, write: &Write) {
    world.input(Input::WriteFailed { id: write.id, why: WriteFailure::InDoubt });
}

/// An assignment of the first thread that was given up in doubt, and the one decided after it.
fn assigned_twice() -> (World, Write, Write) {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.hold_writes = true;
    world.start(1);
    let lost = world.held.pop().expect("it is given to whoever is free");
    give_up(&mut world, &lost);
    let next = world.held.pop().expect("it is decided again");
    assert_eq!(world.routing.counters().doubts, 1);
    (world, lost, next)
}

#[test]
fn one_that_is_stored_after_all_wins_over_what_was_decided_after_it() {
    let (mut world, lost, next) = assigned_twice();
    assert!(world.bus.publish(&lost.messages, world.now).is_some());
    world.hold_writes = false;
    world.held.push(next);
    world.release_writes();
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
    assert_eq!(world.load(agent(1)), 1);
    world.check();
}

#[test]
fn one_that_comes_too_late_is_refused_by_the_bus() {
    let (mut world, lost, next) = assigned_twice();
    world.held.push(next);
    world.release_writes();
    assert_eq!(world.assignee(1), Some(agent(1)));
    assert!(world.bus.publish(&lost.messages, world.now).is_none());
    world.check();
}

#[test]
fn one_is_never_taken_for_the_other_in_the_log() {
    let (_, lost, next) = assigned_twice();
    for (lost, next) in lost.messages.iter().zip(&next.messages) {
        assert_eq!((lost.subject, lost.expected), (next.subject, next.expected));
        assert_ne!(lost.event.id, next.event.id);
    }
}

#[test]
fn a_command_in_doubt_is_decided_again_and_done_once() {
    for first_is_stored in [false, true] {
        let mut world = World::with_group(Strategy::Manual, &[1]);
        let thread = Some(world.start(1));
        let id = CommandId::from_uuid(Uuid::from_u128(0xD1));
        let assign =
            Command::Assign { conversation_id: conversation(1), thread_id: thread, agent_id: agent(1) };
        world.hold_writes = true;
        let token = world.send_as(id, supervisor(), assign);
        let lost = world.held.pop().unwrap();
        give_up(&mut world, &lost);
        if first_is_stored {
            assert!(world.bus.publish(&lost.messages, world.now).is_some());
        }
        world.release_writes();
        assert!(matches!(world.replies[&token], Outcome::Accepted { .. }));
        let assigned = world.life_kinds(1).iter().filter(|kind| **kind == "assigned").count();
        assert_eq!((assigned, world.load(agent(1))), (1, 1));
        world.check();
    }
}

#[test]
fn whoever_asked_for_it_is_not_told_that_it_failed_and_a_repeat_does_it_once() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    let thread = Some(world.start(1));
    let id = CommandId::from_uuid(Uuid::from_u128(0xD0));
    let assign =
        || Command::Assign { conversation_id: conversation(1), thread_id: thread, agent_id: agent(1) };
    world.hold_writes = true;
    let token = world.send_as(id, supervisor(), assign());
    let mut lost = world.held.pop().unwrap();
    for _ in 1..DOUBTS_PER_COMMAND_MAX {
        give_up(&mut world, &lost);
        assert!(!world.replies.contains_key(&token), "it is decided again");
        lost = world.held.pop().unwrap();
    }
    give_up(&mut world, &lost);
    assert_eq!(code(&world.replies[&token]), Some(ErrorCode::Timeout));
    assert!(world.bus.publish(&lost.messages, world.now).is_some());
    world.hold_writes = false;
    let length = world.bus.log.len();
    assert!(matches!(world.repeat(id, supervisor(), assign()), Outcome::Accepted { .. }));
    assert_eq!((world.bus.log.len(), world.load(agent(1))), (length, 1));
    world.check();
}

#[test]
fn one_that_may_yet_be_stored_is_not_refused_for_what_happened_meanwhile() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    let thread_id = world.start(1);
    world.hold_writes = true;
    let (conversation_id, priority) = (conversation(1), Priority::High);
    let urgent = Command::SetPriority { conversation_id, thread_id: Some(thread_id), priority };
    let token = world.send(supervisor(), urgent);
    let lost = world.held.pop().unwrap();
    // Another router closes the thread, which leaves the routing state as it is.
    let state = LifeState { status: ThreadStatus::Closed, ..world.life(1).clone() };
    let closed = Closed { by: Author::SYSTEM, reason: CloseReason::Resolved, state };
    let event = Event { body: Body::Closed(closed), ..started(1, thread_id, None, world.now) };
    world.bus.store(life_subject(conversation_id), event, world.now);
    world.settle();
    give_up(&mut world, &lost);
    assert_eq!(code(&world.replies[&token]), Some(ErrorCode::Timeout), "and not that it is closed");
    assert!(world.bus.publish(&lost.messages, world.now).is_some());
    world.hold_writes = false;
    world.settle();
    world.check();
}
