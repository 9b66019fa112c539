//! Whether a visitor is there: what the edges say when they are asked, and what happens while they are.

use std::time::Duration;

use bus_schema::{
    Body, Lane, Shard, Subject,
    claims::Role,
    command::{Actor, Command},
    config::RoutingSettings,
    state::{CloseReason, Deadline, DeadlineKind, DecisionRule, RoutingStatus, Strategy},
};

use super::super::{Input, WriteFailure};
use super::world::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A group whose threads end for visitors who are gone so long.
fn world(capacities: &[u32], gone_after: u32) -> World {
    let mut world = World::with_group(Strategy::LeastLoaded, capacities);
    world.change_group(1, |group| {
        group.routing = RoutingSettings { visitor_gone_s: Some(gone_after), ..RoutingSettings::default() };
    });
    world
}

/// The router is killed, and starts again after this time.
fn down_for(world: &mut World, duration: Duration) {
    world.now = world.now.plus(duration);
    world.restart();
    world.wait(seconds(1));
}

/// A visitor has been gone for so long that the close of their thread is on its way, and the bus keeps it.
fn a_close_under_way() -> (World, super::super::Write) {
    let mut world = world(&[2], 60);
    world.start(1);
    world.visitor(1, false);
    world.wait(seconds(10));
    world.hold_writes = true;
    world.wait(seconds(60));
    let close = world.held.pop().expect("the thread is to be closed");
    assert!(world.held.is_empty());
    (world, close)
}

#[test]
fn a_thread_whose_visitor_is_gone_ends_and_one_whose_visitor_came_back_does_not() {
    let mut world = world(&[2], 60);
    world.start(1);
    world.start(2);
    world.visitor(1, false);
    world.visitor(2, false);
    world.wait(seconds(10));
    assert!(world.desk(1).deadlines.iter().any(|deadline| deadline.kind == DeadlineKind::VisitorGone));
    assert_eq!(world.decision(1).rule, DecisionRule::VisitorLeft);
    world.visitor(2, true);
    world.wait(seconds(1));
    assert_eq!((world.desk(2).deadlines.len(), world.decision(2).rule), (0, DecisionRule::VisitorBack));
    world.wait(seconds(45));
    assert_eq!(world.closed(1), None);
    world.wait(seconds(10));
    assert_eq!((world.closed(1), world.closed(2)), (Some(CloseReason::VisitorGone), None));
    assert_eq!(world.load(agent(1)), 1);
    world.wait(seconds(600));
    assert_eq!(world.kinds("closed"), 1);
    world.check();
}

#[test]
fn who_came_back_unheard_while_the_close_was_in_doubt_is_not_gone() {
    for why in [WriteFailure::InDoubt, WriteFailure::Mismatch, WriteFailure::Refused] {
        let (mut world, close) = a_close_under_way();
        world.hold_writes = false;
        world.away.clear();
        world.input(Input::WriteFailed { id: close.id, why });
        world.wait(seconds(30));
        assert_eq!((world.closed(1), world.decision(1).rule), (None, DecisionRule::VisitorBack), "{why:?}");
        world.check();
    }
}

#[test]
fn who_loads_a_page_anew_was_never_gone() {
    let mut world = world(&[2], 60);
    world.start(1);
    let before = world.bus.log.len();
    world.visitor(1, false);
    world.wait(seconds(2));
    world.visitor(1, true);
    world.wait(seconds(50));
    assert_eq!(world.bus.log.len(), before);
}

#[test]
fn a_visitor_who_left_unheard_is_missed_all_the_same_and_in_a_queue_as_well() {
    let mut world = world(&[], 60);
    world.start(1);
    world.away.push(1);
    world.wait(seconds(100));
    assert_eq!(world.closed(1), None);
    world.wait(seconds(30));
    assert_eq!(world.closed(1), Some(CloseReason::VisitorGone));
    world.check();
}

#[test]
fn a_router_that_was_down_when_a_visitor_was_gone_ends_the_thread_once() {
    let mut world = world(&[2], 60);
    world.start(1);
    world.start(2);
    world.visitor(1, false);
    world.visitor(2, false);
    world.wait(seconds(50));
    // One of them came back, and nobody was there to hear it.
    world.away.retain(|n| *n != 2);
    down_for(&mut world, seconds(100));
    assert_eq!((world.closed(1), world.closed(2)), (Some(CloseReason::VisitorGone), None));
    down_for(&mut world, seconds(600));
    assert_eq!(world.kinds("closed"), 1);
    world.check();
}

#[test]
fn nobody_is_gone_of_whom_the_edges_could_not_be_asked() {
    let mut world = world(&[2], 10);
    world.start(1);
    world.edges_answer = false;
    world.visitor(1, false);
    world.wait(seconds(600));
    assert_eq!((world.closed(1), world.kinds("decided")), (None, 1));
    assert!(world.questions < 200, "they are not asked all the time");
    world.edges_answer = true;
    world.wait(seconds(30));
    assert_eq!(world.closed(1), Some(CloseReason::VisitorGone));
}

/// One whose visitor has left long ago, and the edges are being asked for the last time.
fn asked_for_the_last_time() -> World {
    let mut world = world(&[2], 60);
    world.start(1);
    world.visitor(1, false);
    world.wait(seconds(10));
    world.hold_questions = true;
    let before = world.questions;
    world.wait(seconds(60));
    assert_eq!((world.questions, world.closed(1)), (before + 1, None));
    world
}

#[test]
fn who_comes_back_while_the_edges_are_asked_is_not_gone_by_an_answer_from_before() {
    let mut world = asked_for_the_last_time();
    // The edge that answered first does not know yet who is about to come to it.
    world.hold_questions = false;
    world.input(Input::Visitor { tenant: TENANT, conversation: conversation(1), came: true });
    world.answer_questions();
    world.away.clear();
    world.settle();
    assert_eq!(world.closed(1), None);
    world.wait(seconds(100));
    assert_eq!((world.closed(1), world.decision(1).rule), (None, DecisionRule::VisitorBack));
    world.check();
}

#[test]
fn an_answer_during_which_nobody_moved_ends_the_thread() {
    let mut world = asked_for_the_last_time();
    world.answer_questions();
    world.settle();
    assert_eq!(world.closed(1), Some(CloseReason::VisitorGone));
}

#[test]
fn who_comes_back_while_the_close_waits_for_another_write_is_not_gone() {
    let mut world = asked_for_the_last_time();
    world.hold_writes = true;
    let status = RoutingStatus::NotAccepting;
    world.send(Actor::agent(agent(1), Role::Agent), Command::SetStatus { agent_id: agent(1), status });
    world.answer_questions();
    world.away.clear();
    world.input(Input::Visitor { tenant: TENANT, conversation: conversation(1), came: true });
    (world.hold_questions, world.hold_writes) = (false, false);
    world.release_writes();
    world.wait(seconds(1));
    assert_eq!(world.closed(1), None);
    world.check();
}

#[test]
fn a_router_that_stood_by_does_not_go_by_what_it_saw_before() {
    let mut world = asked_for_the_last_time();
    world.input(Input::StandBy);
    // While others decide, the visitor comes back unheard.
    world.hold_questions = false;
    let before = world.questions;
    world.input(Input::Activate);
    world.wait(seconds(1));
    assert_eq!(world.questions, before, "an old answer would be taken for a new one");
    world.answer_questions();
    world.settle();
    assert_eq!(world.closed(1), None, "it was asked before others decided");
    world.away.clear();
    world.wait(seconds(1));
    assert_eq!((world.closed(1), world.decision(1).rule), (None, DecisionRule::VisitorBack));
    world.check();
}

#[test]
fn what_was_seen_is_forgotten_by_a_router_that_stands_by() {
    let (mut world, late) = a_close_under_way();
    world.input(Input::StandBy);
    world.input(Input::WriteFailed { id: late.id, why: WriteFailure::Mismatch });
    (world.hold_writes, world.away) = (false, Vec::new());
    world.wait(seconds(100));
    world.input(Input::Activate);
    world.wait(seconds(1));
    assert_eq!((world.closed(1), world.decision(1).rule), (None, DecisionRule::VisitorBack));
    world.check();
}

#[test]
fn what_another_router_saw_since_counts_more_than_what_was_seen_before() {
    let mut world = world(&[2], 60);
    world.start(1);
    // The edges are asked, and the visitor is there.
    world.wait(seconds(70));
    world.away.push(1);
    let id = conversation(1);
    let subject =
        Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation: id, lane: Lane::Desk };
    let mut missed = *world.bus.last(subject).and_then(|last| last.event).expect("its decision");
    let Body::Decided(decided) = &mut missed.body else { panic!("a decision") };
    let at = world.now.plus(seconds(60));
    decided.state.deadlines.push(Deadline { kind: DeadlineKind::VisitorGone, at });
    let seq = world.bus.store(subject, missed, world.now);
    world.settle();
    world.wait(seconds(55));
    assert_eq!(world.bus.last_seq(subject), seq, "nobody takes back what the other wrote");
    world.wait(seconds(10));
    assert_eq!(world.closed(1), Some(CloseReason::VisitorGone));
    world.check();
}

#[test]
fn nobody_is_gone_while_an_edge_has_not_answered_that_may_have_them() {
    let mut world = world(&[2], 10);
    world.lease(edge(2), true);
    world.start(1);
    world.start(2);
    world.silent.push(edge(2));
    world.visitor(1, false);
    world.wait(seconds(600));
    assert_eq!((world.closed(1), world.kinds("decided")), (None, 2));
    assert!(world.questions < 200, "they are not asked all the time");
    // Once its lease has been absent for the grace time its visitors are with others, or gone.
    world.lease(edge(2), false);
    world.wait(GRACE - seconds(1));
    assert_eq!(world.kinds("decided"), 2);
    world.wait(seconds(30));
    assert_eq!((world.closed(1), world.closed(2)), (Some(CloseReason::VisitorGone), None));
    world.check();
}
