//! Agents come and go, edges die, the bus fails.

use std::time::Duration;

use bus_schema::{
    command::{Actor, Answer, Command, Outcome, PresenceReport},
    state::{AgentStatus, RoutingStatus, Strategy},
};

use super::super::Input;
use super::world::*;

#[test]
fn a_first_connection_makes_the_state_with_the_configured_capacity() {
    let mut world = World::new();
    world.configure_agent(agent(1), 7);
    world.lease(edge(1), true);
    world.connect(agent(1), edge(1), 1);
    let state = world.state(agent(1));
    assert_eq!((state.capacity, state.status), (7, RoutingStatus::NotAccepting));
    assert_eq!(state.seen_status(), AgentStatus::NotAccepting);
}

#[test]
fn an_agent_nobody_configured_is_reported_again_later() {
    let mut world = World::new();
    let outcome = world.report(agent(1), edge(1), 1, 1);
    assert_eq!(code(&outcome), Some(bus_schema::ErrorCode::Unavailable));
    assert!(world.bus.agent(agent(1)).is_none());
}

#[test]
fn old_reports_are_ignored_and_a_new_number_alone_is_not_written_at_once() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.report(agent(1), edge(1), 5, 0);
    let length = world.bus.log.len();
    world.report(agent(1), edge(1), 4, 1);
    assert_eq!(world.bus.log.len(), length);
    assert!(!world.state(agent(1)).is_connected());
    world.report(agent(1), edge(1), 6, 1);
    let length = world.bus.log.len();
    world.report(agent(1), edge(1), 7, 3);
    assert_eq!(world.bus.log.len(), length);
    world.wait(Duration::from_secs(31));
    assert_eq!(world.state(agent(1)).presence[&edge(1)].connections, 3);
    assert_eq!(world.bus.log.len(), length + 1);
}

#[test]
fn nobody_is_told_done_before_it_is_stored() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.hold_writes = true;
    let agents = vec![PresenceReport { agent_id: agent(1), rev: 9, connections: 0 }];
    let report = || Command::Presence { incarnation: edge(1), agents: agents.clone() };
    let first = world.send(Actor::SYSTEM, report());
    let second = world.send(Actor::SYSTEM, report());
    assert!(world.replies.is_empty());
    world.release_writes();
    assert_eq!(world.replies[&first], Outcome::DONE);
    assert_eq!(world.replies[&second], Outcome::DONE);
}

#[test]
fn who_comes_back_within_the_grace_time_keeps_their_conversations() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    world.start(1);
    world.disconnect(agent(1), edge(1), 2);
    let left = world.state(agent(1)).offline_since;
    world.wait(GRACE - Duration::from_secs(1));
    world.connect(agent(1), edge(1), 3);
    assert!(left.is_some());
    assert_eq!(world.state(agent(1)).left_at, left, "for a router that takes this edge for dead");
    world.wait(GRACE * 2);
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
}

#[test]
fn who_stays_away_loses_them_to_others_who_are_there() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[9, 9]);
    for n in 1..=4 {
        world.start(n);
    }
    world.disconnect(agent(1), edge(1), 2);
    world.wait(GRACE + Duration::from_secs(1));
    assert!((1..=4).all(|n| world.assignee(n) == Some(agent(2))));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "agent_lost", "assigned"]);
    world.check();
}

#[test]
fn lost_conversations_go_to_the_head_of_the_queue() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.start(2);
    world.disconnect(agent(1), edge(1), 2);
    world.wait(GRACE + Duration::from_secs(1));
    assert_eq!(world.assignee(1), None);
    world.connect(agent(1), edge(1), 3);
    assert_eq!((world.assignee(1), world.assignee(2)), (Some(agent(1)), None));
    world.check();
}

#[test]
fn the_grace_time_goes_on_across_a_restart() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.disconnect(agent(1), edge(1), 2);
    world.wait(GRACE - Duration::from_secs(1));
    world.restart();
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.wait(Duration::from_millis(1250));
    assert_eq!(world.assignee(1), None);
    assert_eq!(world.life_kinds(1).iter().filter(|kind| *kind == "agent_lost").count(), 1);
}

#[test]
fn a_dead_edge_takes_its_agents_off_after_the_grace_time() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[9, 9]);
    world.lease(edge(2), true);
    world.connect(agent(2), edge(2), 1);
    for n in 1..=4 {
        world.start(n);
    }
    world.lease(edge(1), false);
    world.wait(GRACE - Duration::from_secs(1));
    assert!(world.state(agent(1)).is_connected());
    world.wait(Duration::from_millis(1500));
    assert!(!world.state(agent(1)).is_connected());
    assert!(world.state(agent(2)).is_connected(), "another edge still has a connection");
    assert_eq!(world.state(agent(2)).presence.len(), 1);
    assert!((1..=4).all(|n| world.assignee(n) == Some(agent(2))));
    world.check();
}

#[test]
fn who_moved_on_from_a_dead_edge_has_the_grace_time_from_the_last_edge_they_left() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.lease(edge(1), false);
    world.lease(edge(2), true);
    world.connect(agent(1), edge(2), 1);
    world.wait(GRACE - Duration::from_secs(1));
    world.disconnect(agent(1), edge(2), 2);
    assert!(world.state(agent(1)).is_connected(), "the dead edge never said that they left");
    world.wait(Duration::from_secs(2));
    assert!(!world.state(agent(1)).is_connected(), "the dead edge is found dead");
    world.wait(GRACE - Duration::from_secs(3));
    assert_eq!(world.assignee(1), Some(agent(1)), "they were here until a moment ago");
    world.wait(Duration::from_secs(2));
    assert_eq!(world.assignee(1), None);
    world.check();
}

#[test]
fn an_edge_whose_lease_was_never_seen_is_given_the_grace_time() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.lease(edge(1), false);
    world.restart();
    world.wait(GRACE - Duration::from_secs(1));
    assert!(world.state(agent(1)).is_connected());
    world.wait(Duration::from_secs(2));
    assert!(!world.state(agent(1)).is_connected());
}

#[test]
fn an_outage_of_the_bus_logs_nobody_out() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.input(Input::BusDown);
    world.lease(edge(1), false);
    world.wait(GRACE * 5);
    world.input(Input::BusWorks);
    world.wait(GRACE / 2);
    world.lease(edge(1), true);
    world.wait(GRACE * 2);
    assert_eq!(world.assignee(1), Some(agent(1)));
    assert!(world.state(agent(1)).is_connected());
}

#[test]
fn a_digest_names_what_differs() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1, 1]);
    let report = |n, rev, connections| PresenceReport { agent_id: agent(n), rev, connections };
    let digest = |world: &mut World, agents| {
        let outcome = world.command(Actor::SYSTEM, Command::PresenceDigest { incarnation: edge(1), agents });
        match outcome {
            Outcome::Accepted { answer: Answer::PresenceDiffers { agents } } => agents,
            other => panic!("{other:?}"),
        }
    };
    let same = vec![report(1, 1, 1), report(2, 1, 1), report(3, 1, 1)];
    assert_eq!(digest(&mut world, same), []);
    let other = vec![report(1, 1, 1), report(2, 2, 0)];
    assert_eq!(digest(&mut world, other), [agent(2), agent(3)]);
}

#[test]
fn an_edge_that_died_long_before_the_bus_came_back_still_counts_as_dead() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.lease(edge(1), false);
    world.input(Input::BusDown);
    world.wait(Duration::from_secs(3700));
    world.input(Input::BusWorks);
    world.wait(GRACE + Duration::from_secs(1));
    assert!(!world.state(agent(1)).is_connected());
    assert_eq!(world.assignee(1), None);
    world.check();
}
