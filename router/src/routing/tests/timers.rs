//! What time does: when it is due, once, also for a router that was down at that moment.

use std::time::Duration;

use bus_schema::{
    Author,
    config::RoutingSettings,
    event::AgentLostReason,
    state::{CloseReason, DeadlineKind, QueueReason, RoutingStatus, Strategy, ThreadStatus},
};

use super::super::settings::{AVOIDED_FOR, SWEEP_EVERY};
use super::world::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A group whose timers are these.
fn world(capacities: &[u32], routing: RoutingSettings) -> World {
    let mut world = World::with_group(Strategy::LeastLoaded, capacities);
    world.change_group(1, |group| group.routing = routing);
    world
}

fn staff(n: u128) -> Author {
    Author::agent(agent(n))
}

fn visitors(n: u128) -> Author {
    Author::visitor(visitor(n))
}

/// The router is killed before the instant, and starts again long after it.
fn down_for(world: &mut World, duration: Duration) {
    world.now = world.now.plus(duration);
    world.restart();
    world.wait(seconds(1));
}

#[test]
fn who_does_not_answer_loses_the_thread_to_somebody_else() {
    let mut world = world(&[2, 2], RoutingSettings { answer_s: Some(30), ..RoutingSettings::default() });
    world.start(1);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.say(1, visitors(1));
    world.wait(seconds(29));
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.wait(seconds(2));
    assert_eq!(world.assignee(1), Some(agent(2)));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "agent_lost", "assigned"]);
    assert_eq!(world.lost(1), Some(AgentLostReason::Unanswered));
    assert_eq!((world.load(agent(1)), world.state(agent(1)).misses, world.desk(1).misses), (0, 1, 1));
    world.say(1, staff(2));
    world.wait(seconds(300));
    assert_eq!(world.assignee(1), Some(agent(2)), "who has answered keeps it");
    world.say(1, visitors(1));
    world.wait(seconds(10));
    world.say(1, visitors(1));
    world.wait(seconds(19));
    assert_eq!(world.assignee(1), Some(agent(2)));
    world.wait(seconds(2));
    assert_ne!(world.assignee(1), Some(agent(2)), "the first word that waits counts");
    assert_eq!(world.routing.counters().mended, 0);
    world.check();
}

#[test]
fn who_misses_often_is_set_not_accepting_and_starts_anew() {
    let mut world = world(
        &[5],
        RoutingSettings { answer_s: Some(10), misses_max: Some(2), ..RoutingSettings::default() },
    );
    world.start(1);
    world.wait(seconds(11));
    assert_eq!((world.assignee(1), world.state(agent(1)).status), (None, RoutingStatus::Accepting));
    assert_eq!(world.desk(1).queue.as_ref().unwrap().reason, QueueReason::AgentLost);
    world.wait(AVOIDED_FOR);
    assert_eq!(world.assignee(1), Some(agent(1)), "rather they than nobody");
    world.wait(seconds(11));
    assert_eq!((world.assignee(1), world.state(agent(1)).status), (None, RoutingStatus::NotAccepting));
    world.accept(agent(1));
    assert_eq!(world.state(agent(1)).misses, 0);
    world.check();
}

#[test]
fn an_answer_of_a_program_is_none() {
    let mut world = world(&[1, 1], RoutingSettings { answer_s: Some(10), ..RoutingSettings::default() });
    world.start(1);
    world.say(1, bot().author);
    world.wait(seconds(11));
    assert_eq!(world.assignee(1), Some(agent(2)));
}

#[test]
fn a_router_that_was_down_when_an_answer_was_due_reassigns_once() {
    let mut world = world(&[1, 1], RoutingSettings { answer_s: Some(30), ..RoutingSettings::default() });
    world.start(1);
    world.wait(seconds(29));
    down_for(&mut world, seconds(20));
    assert_eq!(world.assignee(1), Some(agent(2)));
    world.say(1, staff(2));
    down_for(&mut world, seconds(60));
    assert_eq!(world.kinds("unanswered"), 1);
    world.check();
}

#[test]
fn silence_is_told_and_then_ends_the_thread() {
    let rules = RoutingSettings { idle_s: Some(60), idle_close_s: Some(30), ..RoutingSettings::default() };
    let mut world = world(&[1], rules);
    world.start(1);
    world.wait(seconds(50));
    world.say(1, staff(1));
    let last = world.now;
    world.wait(seconds(50));
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
    world.wait(seconds(11));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "idle"]);
    assert_eq!(world.desk(1).idle_since, Some(last));
    world.say(1, visitors(1));
    world.wait(seconds(59));
    assert_eq!(world.life(1).status, ThreadStatus::Active, "somebody spoke in time");
    world.wait(seconds(2));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "idle", "idle"]);
    world.wait(seconds(31));
    assert_eq!((world.closed(1), world.load(agent(1))), (Some(CloseReason::Idle), 0));
    world.wait(seconds(300));
    assert_eq!(world.life_kinds(1).len(), 5);
    world.check();
}

#[test]
fn idleness_without_an_end_is_told_once_and_again_after_the_next_word() {
    let mut world = world(&[1], RoutingSettings { idle_s: Some(10), ..RoutingSettings::default() });
    world.start(1);
    world.wait(seconds(100));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "idle"]);
    world.say(1, visitors(1));
    world.wait(seconds(9));
    assert_eq!(world.kinds("idle"), 1);
    world.wait(seconds(100));
    assert_eq!(world.kinds("idle"), 2);
}

#[test]
fn a_router_that_was_down_tells_of_idleness_and_closes_once_each() {
    let rules = RoutingSettings { idle_s: Some(60), idle_close_s: Some(30), ..RoutingSettings::default() };
    let mut world = world(&[1], rules);
    world.start(1);
    world.wait(seconds(59));
    down_for(&mut world, seconds(10));
    assert_eq!(world.kinds("idle"), 1);
    world.wait(seconds(27));
    assert_eq!(world.closed(1), None);
    down_for(&mut world, seconds(60));
    assert_eq!(world.closed(1), Some(CloseReason::Idle));
    down_for(&mut world, seconds(600));
    assert_eq!((world.kinds("idle"), world.kinds("closed")), (1, 1));
    world.check();
}

#[test]
fn who_waits_too_long_is_turned_away() {
    let mut world = world(&[1], RoutingSettings { queue_s: Some(120), ..RoutingSettings::default() });
    world.start(1);
    world.start(2);
    world.start(3);
    world.wait(seconds(100));
    world.close(1, supervisor());
    assert_eq!(world.assignee(2), Some(agent(1)));
    assert_eq!(world.desk(2).deadlines, []);
    down_for(&mut world, seconds(60));
    assert_eq!((world.closed(2), world.closed(3)), (None, Some(CloseReason::QueueTimeout)));
    // One whose agent was lost waits anew, however old it is.
    world.wait(seconds(200));
    world.disconnect(agent(1), edge(1), 2);
    world.wait(GRACE + seconds(1));
    assert_eq!(world.life(2).status, ThreadStatus::Queued);
    world.wait(seconds(110));
    assert_eq!(world.closed(2), None);
    world.wait(seconds(11));
    assert_eq!(world.closed(2), Some(CloseReason::QueueTimeout));
    assert_eq!(world.kinds("closed"), 3);
    world.check();
}

#[test]
fn wanted_skills_are_waived_after_a_time() {
    let mut world =
        world(&[1, 1], RoutingSettings { skills_waive_s: Some(60), ..RoutingSettings::default() });
    world.stop_accepting(agent(1));
    world.stop_accepting(agent(2));
    world.start(1);
    world.wait(seconds(100));
    world.set_skills(1, &["latin"], supervisor());
    let kinds: Vec<_> = world.desk(1).deadlines.iter().map(|deadline| deadline.kind).collect();
    assert_eq!(kinds, [DeadlineKind::SkillsWaive]);
    world.accept(agent(1));
    assert_eq!(world.assignee(1), None);
    world.wait(seconds(59));
    assert_eq!(world.assignee(1), None);
    down_for(&mut world, seconds(30));
    assert_eq!(world.assignee(1), Some(agent(1)));
    assert_eq!(world.kinds("skills_waived"), 1);
    assert!(world.desk(1).skills_waived);
    world.check();
}

#[test]
fn of_two_routers_that_are_both_due_one_does_it() {
    let mut world = world(&[1], RoutingSettings { idle_s: Some(10), ..RoutingSettings::default() });
    world.start(1);
    world.hold_writes = true;
    world.wait(seconds(11));
    assert_eq!(world.held.len(), 1);
    let late = std::mem::take(&mut world.held);
    world.hold_writes = false;
    world.restart();
    world.wait(seconds(1));
    assert_eq!(world.kinds("idle"), 1);
    assert!(late.iter().all(|write| world.bus.publish(&write.messages, world.now).is_none()));
}

#[test]
fn what_is_switched_off_costs_no_look() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[9]);
    for n in 1..=9 {
        world.start(n);
    }
    world.wait(SWEEP_EVERY * 30);
    assert_eq!(world.looks, 0);
    world.change_group(1, |group| group.routing.idle_s = Some(60));
    world.wait(seconds(1));
    assert_eq!(world.kinds("idle"), 9, "what is switched on counts for what is open");
}
