//! What other systems got wrong in routing, by the number of their reports. Each is a test here; where the same is also
//! proven with processes or over the whole system, the name of that test follows.
//!
//! | report | what happened there | also |
//! |---|---|---|
//! | Chatwoot #7204 | chats given to agents who are offline | `least_loaded_always_picks_a_minimum`, `sticky_never_picks_one_who_is_away_or_full` |
//! | Chatwoot #6631 | agents stuck online | router/tests/it `fifty_agents_of_a_killed_edge_lose_their_threads_and_who_is_back_in_time_keeps_them` |
//! | Chatwoot #13516 | no reassignment when an agent does not answer | router/tests/it `what_came_due_while_the_router_was_killed_happens_once` |
//! | Chatwoot | a queue that is swept every 15 minutes | router/tests/it `a_queue_is_drained_in_order_when_an_agent_accepts` |
//! | Chatwoot #10798, #14071 | duplicates from check-then-create | ops/tests/system `one_thread_though_each_visitor_starts_twenty_times_at_once` |
//! | Rocket.Chat #18217 | capacity exceeded under concurrency | router/tests/it `three_routers_without_a_lease_that_are_killed_and_paused_break_nothing` |
//! | Rocket.Chat #22206 | one chat taken by two agents | router/tests/it `of_fifty_agents_who_take_one_thread_at_once_one_has_it_and_the_others_are_told` |
//! | Rocket.Chat #38148 | two open rooms of one visitor | ops/tests/system `one_thread_though_each_visitor_starts_twenty_times_at_once` |
//! | Rocket.Chat #21074 | a room closed without a token | `visitors_assignees_and_supervisors_close_and_nobody_else` |
//! | Papercups | any conversation joined whose id exists | `agents_join_beside_the_assignee_and_leave_again`, edge/tests/it `agents_watch_only_what_they_may_see_and_supervisors_all` |
//! | Rocket.Chat | timers in process memory | router/tests/it `what_came_due_while_the_router_was_killed_happens_once` |

use std::time::Duration;

use bus_schema::{
    CommandId, ErrorCode,
    claims::Role,
    command::{Actor, Answer, Command, Outcome},
    config::RoutingSettings,
    state::{CloseReason, RoutingStatus, Strategy},
};

use uuid::Uuid;

use super::world::*;

#[test]
fn chatwoot_7204_nobody_who_is_offline_is_given_a_chat() {
    for strategy in [Strategy::LeastLoaded, Strategy::RoundRobin, Strategy::Sticky] {
        let mut world = World::with_group(strategy, &[5, 5]);
        world.disconnect(agent(1), edge(1), 2);
        for n in 1..=5 {
            world.start(n);
            assert_eq!(world.assignee(n), Some(agent(2)), "{strategy:?}");
        }
        world.disconnect(agent(2), edge(1), 3);
        world.start(6);
        assert_eq!(world.assignee(6), None);
        world.check();
    }
}

#[test]
fn chatwoot_6631_nobody_stays_online_whose_edge_is_dead() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 2]);
    world.start(1);
    world.lease(edge(1), false);
    world.wait(GRACE + Duration::from_secs(1));
    for n in [1, 2] {
        assert!(!world.state(agent(n)).is_connected());
    }
    assert_eq!(world.assignee(1), None);
    world.check();
}

#[test]
fn chatwoot_13516_who_does_not_answer_loses_the_chat() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.change_group(1, |group| {
        group.routing = RoutingSettings { answer_s: Some(10), ..RoutingSettings::default() };
    });
    world.start(1);
    let first = world.assignee(1);
    world.wait(Duration::from_secs(11));
    assert!(world.assignee(1).is_some() && world.assignee(1) != first);
}

#[test]
fn chatwoot_a_queue_is_not_swept_but_drained_in_the_moment_somebody_is_free() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.start(2);
    let now = world.now;
    world.close(1, supervisor());
    assert_eq!((world.assignee(2), world.now), (Some(agent(1)), now), "no time passed");
    world.stop_accepting(agent(1));
    world.start(3);
    world.close(2, supervisor());
    world.accept(agent(1));
    assert_eq!(world.assignee(3), Some(agent(1)));
    assert_eq!(world.routing.counters().mended, 0);
}

#[test]
fn chatwoot_10798_and_14071_what_is_asked_for_twice_at_once_is_made_once() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[5]);
    world.start(1);
    world.close(1, supervisor());
    // One asks twice, for the first answer was lost, and somebody else asks for the same.
    let reopen = || Command::Reopen { conversation_id: conversation(1), thread_id: None };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC3));
    world.hold_writes = true;
    let mine = [(); 2].map(|()| world.send_as(id, supervisor(), reopen()));
    let others = world.send(Actor::agent(agent(901), Role::Supervisor), reopen());
    world.release_writes();
    assert_eq!(world.kinds("reopened"), 1);
    let opened = world.life(1).thread_id;
    for token in mine {
        let answer = &world.replies[&token];
        assert!(
            matches!(answer, Outcome::Accepted { answer: Answer::Thread { thread_id, .. } } if *thread_id == opened),
            "{answer:?}"
        );
    }
    assert_eq!(code(&world.replies[&others]), Some(ErrorCode::Conflict));
    world.check();
}

#[test]
fn rocket_chat_18217_capacity_holds_under_concurrency() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 1]);
    // Everything that races for the same agents is on its way at once.
    world.hold_writes = true;
    for n in 1..=20 {
        world.start(n);
    }
    let assign =
        |n| Command::Assign { conversation_id: conversation(n), thread_id: None, agent_id: agent(1) };
    for n in 1..=20 {
        world.send(supervisor(), assign(n));
        let take = Command::Take { conversation_id: conversation(n), thread_id: None };
        world.send(Actor::agent(agent(2), Role::Agent), take);
    }
    world.release_writes();
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (2, 1));
    world.check();
}

#[test]
fn rocket_chat_22206_one_chat_is_taken_by_one_agent() {
    let mut world = World::with_group(Strategy::Manual, &[1; 10]);
    world.start(1);
    world.hold_writes = true;
    let take = || Command::Take { conversation_id: conversation(1), thread_id: None };
    let tokens: Vec<u64> =
        (1..=10).map(|n| world.send(Actor::agent(agent(n), Role::Agent), take())).collect();
    world.release_writes();
    let told = tokens.iter().map(|token| code(&world.replies[token]));
    assert_eq!(told.filter(|code| *code == Some(ErrorCode::AlreadyAssigned)).count(), 9);
    assert_eq!((1..=10).map(|n| world.state(agent(n)).load()).sum::<u32>(), 1);
}

#[test]
fn rocket_chat_38148_a_visitor_has_one_open_thread() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[5]);
    world.start(1);
    world.close(1, supervisor());
    // Staff reopen while the visitor starts: whoever is first, the other finds that.
    world.hold_writes = true;
    let reopen = Command::Reopen { conversation_id: conversation(1), thread_id: None };
    let token = world.send(supervisor(), reopen);
    let thread = world.start(1);
    world.release_writes();
    assert_eq!(code(&world.replies[&token]), Some(ErrorCode::Conflict));
    assert_eq!(world.life(1).thread_id, thread);
    world.check();
}

#[test]
fn rocket_chat_21074_nobody_closes_what_is_not_theirs() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[5]);
    world.start(1);
    for stranger in [Actor::visitor(visitor(2)), Actor::agent(agent(7), Role::Agent)] {
        assert_eq!(code(&world.close(1, stranger)), Some(ErrorCode::NotParticipant));
    }
    assert_eq!(world.closed(1), None);
}

#[test]
fn rocket_chat_a_timer_outlives_the_process_that_began_it() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.change_group(1, |group| {
        group.routing = RoutingSettings { queue_s: Some(60), ..RoutingSettings::default() };
    });
    world.set_status(agent(1), RoutingStatus::NotAccepting);
    world.start(1);
    for _ in 0..5 {
        world.wait(Duration::from_secs(10));
        world.restart();
    }
    assert_eq!(world.closed(1), None);
    world.wait(Duration::from_secs(11));
    assert_eq!(world.closed(1), Some(CloseReason::QueueTimeout));
}

#[test]
fn papercups_nobody_joins_a_conversation_because_its_id_exists() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[5]);
    world.start(1);
    // Of the tenant, but of no group of the thread; another visitor; and one that does not exist.
    world.configure_agent(agent(7), 5);
    for stranger in [Actor::agent(agent(7), Role::Agent), Actor::visitor(visitor(2))] {
        assert_eq!(code(&world.join(1, stranger)), Some(ErrorCode::Forbidden));
    }
    assert_eq!(code(&world.join(99, Actor::agent(agent(7), Role::Agent))), Some(ErrorCode::NotFound));
    assert_eq!(world.life(1).participants, [agent(1)]);
}
