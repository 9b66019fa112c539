//! Transfers, those who join, wishes, and threads that are opened again.

use std::time::Duration;

use bus_schema::{
    CommandId, ErrorCode, ThreadId,
    claims::Role,
    command::{Actor, Answer, Command, Outcome},
    config::WhenOffline,
    state::{DecisionRule, Priority, QueueReason, Refusal, Strategy, ThreadStatus},
};
use uuid::Uuid;

use super::super::settings::{AVOIDED_FOR, PARTICIPANTS_MAX};
use super::world::*;

fn me(n: u128) -> Actor {
    Actor::agent(agent(n), Role::Agent)
}

/// Agent 1 in group 1 has conversation 1; agents 2 and 3, with room for one, are in group 2.
fn two_groups() -> World {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    for n in 2..=3 {
        world.configure_agent(agent(n), 1);
        world.connect(agent(n), edge(1), 1);
        world.accept(agent(n));
    }
    world.configure_group(2, Strategy::LeastLoaded, &[agent(2), agent(3)]);
    world.start(1);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world
}

#[test]
fn the_assignee_transfers_to_an_agent_and_the_slot_is_free() {
    let mut world = two_groups();
    assert_eq!(
        code(&world.transfer(1, (Some(agent(3)), None), false, me(2))),
        Some(ErrorCode::NotParticipant)
    );
    let visitors = Actor::visitor(visitor(1));
    assert_eq!(
        code(&world.transfer(1, (Some(agent(3)), None), false, visitors)),
        Some(ErrorCode::NotParticipant)
    );
    let outcome = world.transfer(1, (Some(agent(3)), None), false, me(1));
    let Outcome::Accepted { answer: Answer::Thread { assignee_id, seq, .. } } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((assignee_id, seq), (Some(agent(3)), world.bus.last_seq(life_subject(conversation(1)))));
    assert_eq!((world.load(agent(1)), world.load(agent(3))), (0, 1));
    assert_eq!(world.life(1).participants, [agent(3)]);
    assert_eq!(world.life_kinds(1), ["started", "assigned", "transferred"]);
    let decision = world.decision(1);
    assert_eq!((decision.rule, decision.chosen), (DecisionRule::Transferred, Some(agent(3))));
    world.check();
}

#[test]
fn a_transfer_that_nobody_can_take_is_refused_and_changes_nothing() {
    let mut world = two_groups();
    let to = |n| (Some(agent(n)), None);
    assert_eq!(code(&world.transfer(1, to(77), false, me(1))), Some(ErrorCode::NotFound));
    assert_eq!(code(&world.transfer(1, (None, None), false, me(1))), Some(ErrorCode::InvalidRequest));
    assert_eq!(code(&world.transfer(1, (None, Some(group(9))), false, me(1))), Some(ErrorCode::NotFound));
    world.start_in(2, Some(group(2)));
    world.start_in(3, Some(group(2)));
    assert_eq!(code(&world.transfer(1, to(2), false, me(1))), Some(ErrorCode::OverCapacity));
    let group_2 = (None, Some(group(2)));
    assert_eq!(code(&world.transfer(1, group_2, false, me(1))), Some(ErrorCode::OverCapacity));
    world.stop_accepting(agent(2));
    world.stop_accepting(agent(3));
    assert_eq!(code(&world.transfer(1, to(2), false, me(1))), Some(ErrorCode::AgentUnavailable));
    assert_eq!(code(&world.transfer(1, group_2, false, me(1))), Some(ErrorCode::AgentUnavailable));
    world.disconnect(agent(2), edge(1), 2);
    world.disconnect(agent(3), edge(1), 2);
    assert_eq!(code(&world.transfer(1, group_2, false, me(1))), Some(ErrorCode::GroupOffline));
    world.change_group(2, |record| record.when_offline = WhenOffline::Close);
    assert_eq!(
        code(&world.transfer(1, group_2, true, me(1))),
        Some(ErrorCode::GroupOffline),
        "nobody may wait"
    );
    assert_eq!(world.assignee(1), Some(agent(1)));
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
    world.check();
}

#[test]
fn a_transfer_to_a_group_goes_to_whose_turn_it_is_there() {
    let mut world = two_groups();
    world.start_in(2, Some(group(2)));
    assert_eq!(world.assignee(2), Some(agent(2)));
    assert_eq!(code(&world.transfer(1, (None, Some(group(2))), false, supervisor())), None);
    assert_eq!((world.assignee(1), world.life(1).group_id), (Some(agent(3)), Some(group(2))));
    world.check();
}

#[test]
fn a_transfer_may_wait_behind_who_came_before_and_not_for_who_passed_it_on() {
    let mut world = two_groups();
    world.change_group(2, |record| {
        record.members.extend(group_record(group(2), Strategy::Manual, &[agent(1)], 0).members)
    });
    for n in 2..=5 {
        world.start_in(n, Some(group(2)));
    }
    // Agent 1 has one more slot than the others, and it is used as well.
    assert_eq!(world.assignee(5), None);
    assert_eq!(code(&world.transfer(1, (None, Some(group(2))), true, me(1))), None);
    assert_eq!(world.desk(1).queue.as_ref().unwrap().reason, QueueReason::Transferred);
    assert_eq!(world.assignee(5), Some(agent(1)), "the freed slot is for who waits longer");
    world.close(5, supervisor());
    assert_eq!(world.assignee(1), None, "not back to who passed it on");
    world.check();
    world.close(2, supervisor());
    let expected = [agent(2), agent(3)];
    assert!(expected.contains(&world.assignee(1).unwrap()));
    world.check();
}

#[test]
fn who_passed_it_on_has_it_again_rather_than_nobody() {
    let mut world = two_groups();
    assert_eq!(code(&world.transfer(1, (None, Some(group(1))), true, me(1))), None);
    assert_eq!(world.assignee(1), None);
    assert_eq!(world.decision(1).candidates[0].refused, Some(Refusal::PassedOn));
    world.restart();
    world.wait(AVOIDED_FOR - Duration::from_secs(1));
    assert_eq!(world.assignee(1), None);
    world.check();
    world.wait(Duration::from_secs(2));
    assert_eq!(world.assignee(1), Some(agent(1)));
    assert_eq!(world.routing.counters().mended, 0);
}

#[test]
fn a_thread_that_waits_keeps_its_place_when_an_agent_it_is_meant_for_is_away() {
    let mut world = two_groups();
    for n in 2..=4 {
        world.start_in(n, Some(group(2)));
    }
    world.start_in(5, Some(group(2)));
    world.stop_accepting(agent(1));
    let since = world.desk(4).queue.as_ref().unwrap().since;
    assert_eq!(code(&world.transfer(4, (Some(agent(1)), None), true, supervisor())), None);
    assert_eq!(world.desk(4).queue.as_ref().unwrap().since, since);
    world.change_group(2, |record| record.queue_max = Some(2));
    let away = (Some(agent(1)), None);
    assert_eq!(
        code(&world.transfer(2, away, true, supervisor())),
        Some(ErrorCode::QueueFull),
        "nor may it wait where nobody more may"
    );
    world.check();
}

#[test]
fn a_manual_group_is_asked_by_waiting_there() {
    let mut world = two_groups();
    world.change_group(2, |record| record.strategy = Strategy::Manual);
    assert_eq!(code(&world.transfer(1, (None, Some(group(2))), false, me(1))), None);
    assert_eq!((world.life(1).status, world.load(agent(1))), (ThreadStatus::Queued, 0));
    assert_eq!(code(&world.take(1, agent(2), Role::Agent)), None);
    world.check();
}

#[test]
fn agents_join_beside_the_assignee_and_leave_again() {
    let mut world = two_groups();
    assert_eq!(code(&world.join(1, me(2))), Some(ErrorCode::Forbidden), "not of the group");
    world.change_group(1, |record| {
        record.members.extend(group_record(group(1), Strategy::Manual, &[agent(2)], 0).members)
    });
    assert_eq!(code(&world.join(1, me(2))), None);
    assert_eq!(code(&world.join(1, supervisor())), None);
    assert_eq!(world.life(1).participants, [agent(1), agent(2), agent(900)]);
    assert_eq!((world.assignee(1), world.load(agent(2))), (Some(agent(1)), 0));
    let length = world.bus.log.len();
    assert_eq!(code(&world.join(1, me(2))), None, "who takes part already");
    assert_eq!(world.bus.log.len(), length);
    assert_eq!(code(&world.leave(1, me(1))), Some(ErrorCode::Conflict), "the assignee stays");
    assert_eq!(code(&world.leave(1, me(2))), None);
    assert_eq!(code(&world.leave(1, me(2))), Some(ErrorCode::NotParticipant));
    assert_eq!(code(&world.join(1, Actor::visitor(visitor(1)))), Some(ErrorCode::Forbidden));
    assert_eq!(world.life_kinds(1), ["started", "assigned", "joined", "joined", "left"]);
    world.check();
}

#[test]
fn so_many_take_part_and_no_more() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1; PARTICIPANTS_MAX + 1]);
    world.start(1);
    let last = PARTICIPANTS_MAX as u128;
    for n in 2..=last {
        assert_eq!(code(&world.join(1, me(n))), None, "{n}");
    }
    assert_eq!(code(&world.join(1, me(last + 1))), Some(ErrorCode::Conflict));
    assert_eq!(code(&world.leave(1, me(2))), None);
    assert_eq!(code(&world.join(1, me(last + 1))), None);
    assert_eq!(world.life(1).participants.len(), PARTICIPANTS_MAX);
    world.check();
}

#[test]
fn a_repeated_join_or_transfer_answers_the_same_and_does_nothing() {
    let mut world = two_groups();
    let (conversation_id, thread_id) = (conversation(1), None);
    let join = || Command::Join { conversation_id, thread_id };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC0));
    let first = world.repeat(id, supervisor(), join());
    assert_eq!(code(&world.leave(1, supervisor())), None);
    world.restart();
    let again = world.repeat(id, supervisor(), join());
    assert_eq!((code(&first), code(&again)), (None, None));
    assert_eq!(world.life(1).participants, [agent(1)], "it does not happen again");
    let transfer = || Command::Transfer {
        conversation_id,
        thread_id,
        agent_id: Some(agent(2)),
        group_id: None,
        queue: false,
    };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC1));
    let first = world.repeat(id, me(1), transfer());
    world.restart();
    let length = world.bus.log.len();
    assert_eq!(world.repeat(id, me(1), transfer()), first);
    assert_eq!(world.bus.log.len(), length);
}

#[test]
fn the_more_urgent_goes_first() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=3 {
        world.start(n);
    }
    assert_eq!(code(&world.set_priority(3, Priority::High, me(1))), Some(ErrorCode::Forbidden));
    assert_eq!(world.set_priority(3, Priority::High, supervisor()), Outcome::DONE);
    assert_eq!(world.desk(3).priority, Priority::High);
    world.restart();
    world.close(1, supervisor());
    assert_eq!((world.assignee(3), world.assignee(2)), (Some(agent(1)), None));
    world.check();
}

#[test]
fn a_thread_that_wants_a_skill_lets_others_go_before_it_until_somebody_has_it() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=3 {
        world.start(n);
    }
    assert_eq!(code(&world.set_skills(2, &["latin"], me(1))), Some(ErrorCode::Forbidden));
    assert_eq!(code(&world.set_skills(2, &[""], supervisor())), Some(ErrorCode::InvalidRequest));
    assert_eq!(world.set_skills(2, &["latin"], supervisor()), Outcome::DONE);
    world.close(1, supervisor());
    assert_eq!((world.assignee(2), world.assignee(3)), (None, Some(agent(1))));
    world.close(3, supervisor());
    assert_eq!(world.assignee(2), None);
    world.wait(Duration::from_secs(30));
    world.check();
    assert_eq!(world.routing.counters().mended, 0, "it is no fault that it waits");
    world.change_agent(agent(1), |record| record.skills = vec!["latin".into()]);
    assert_eq!(world.assignee(2), Some(agent(1)));
    world.check();
}

#[test]
fn an_offer_that_was_not_made_cannot_be_declined() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    world.start(1);
    let decline = Command::Decline { conversation_id: conversation(1), thread_id: None };
    assert_eq!(code(&world.command(me(1), decline)), Some(ErrorCode::Conflict));
}

#[test]
fn staff_reopen_a_closed_conversation_as_a_new_thread() {
    let mut world = two_groups();
    let first = world.life(1).thread_id;
    assert_eq!(code(&world.reopen(1, supervisor())), Some(ErrorCode::Conflict), "it is open");
    world.close(1, supervisor());
    assert_eq!(code(&world.reopen(1, Actor::visitor(visitor(1)))), Some(ErrorCode::Forbidden));
    assert_eq!(code(&world.reopen(1, me(2))), Some(ErrorCode::Forbidden), "not of the group");
    assert_eq!(code(&world.reopen(99, supervisor())), Some(ErrorCode::NotFound));
    world.restart();
    let id = CommandId::from_uuid(Uuid::from_u128(0xC7));
    let command = || Command::Reopen { conversation_id: conversation(1), thread_id: None };
    let outcome = world.repeat(id, me(1), command());
    let Outcome::Accepted { answer: Answer::Thread { thread_id, .. } } = outcome else {
        panic!("{outcome:?}")
    };
    let life = world.life(1);
    assert_eq!((life.thread_id, life.previous_thread_id), (thread_id, Some(first)));
    assert_eq!((life.group_id, life.visitor_id), (Some(group(1)), visitor(1)));
    assert_eq!(life.assignee_id, Some(agent(1)), "and it is routed as any other");
    assert_eq!(world.life_kinds(1)[2..], ["closed", "reopened", "assigned"]);
    let length = world.bus.log.len();
    world.repeat(id, me(1), command());
    world.close(1, supervisor());
    world.restart();
    let again = world.repeat(id, me(1), command());
    assert!(
        matches!(again, Outcome::Accepted { answer: Answer::Thread { thread_id: t, .. } } if t == thread_id)
    );
    assert_eq!(world.life(1).status, ThreadStatus::Closed, "a repeat opens no third");
    assert!(world.bus.log.len() > length);
    assert_ne!(thread_id, ThreadId::NIL);
    world.check();
}

#[test]
fn a_late_repeat_reopens_nothing_once_others_have_come_and_gone() {
    let mut world = two_groups();
    let first = world.life(1).thread_id;
    world.close(1, supervisor());
    let id = CommandId::from_uuid(Uuid::from_u128(0xC8));
    let reopen = || Command::Reopen { conversation_id: conversation(1), thread_id: Some(first) };
    assert_eq!(code(&world.repeat(id, supervisor(), reopen())), None);
    assert_eq!(world.life(1).thread_id.uuid(), id.uuid());
    world.close(1, supervisor());
    world.start(1);
    assert_eq!(code(&world.repeat(id, supervisor(), reopen())), Some(ErrorCode::Conflict), "one is open");
    world.close(1, supervisor());
    for _ in 0..2 {
        assert_eq!(code(&world.repeat(id, supervisor(), reopen())), Some(ErrorCode::Conflict));
        assert_eq!(code(&world.command(supervisor(), reopen())), Some(ErrorCode::Conflict), "nor a new one");
        world.restart();
    }
    assert_eq!(world.kinds("reopened"), 1);
    let last = Some(world.life(1).thread_id);
    let command = Command::Reopen { conversation_id: conversation(1), thread_id: last };
    assert_eq!(code(&world.command(supervisor(), command)), None);
    assert_eq!(world.life(1).previous_thread_id, last);
    world.check();
}

#[test]
fn what_an_agent_who_is_away_holds_is_lost_although_somebody_gave_them_more() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[3]);
    world.start(1);
    world.disconnect(agent(1), edge(1), 2);
    world.start(2);
    assert_eq!(code(&world.assign(2, agent(1), supervisor())), None);
    world.wait(GRACE + Duration::from_secs(1));
    assert_eq!(world.assignee(1), None, "the grace time went on");
    assert_eq!(world.assignee(2), Some(agent(1)), "it was given to them as they are");
    world.restart();
    world.wait(GRACE * 2);
    assert_eq!(world.assignee(2), Some(agent(1)));
    world.connect(agent(1), edge(1), 3);
    world.disconnect(agent(1), edge(1), 4);
    world.wait(GRACE + Duration::from_secs(1));
    assert_eq!(world.assignee(2), None, "they came and went");
}

#[test]
fn a_report_under_way_is_answered_when_the_router_stands_by() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.hold_writes = true;
    let agents = vec![bus_schema::command::PresenceReport { agent_id: agent(1), rev: 9, connections: 0 }];
    let report = Command::Presence { incarnation: edge(1), agents };
    let token = world.send(Actor::SYSTEM, report);
    assert!(world.replies.is_empty());
    world.input(super::super::Input::StandBy);
    assert_eq!(code(&world.replies[&token]), Some(ErrorCode::Unavailable), "the edge asks the next one");
    world.release_writes();
}
