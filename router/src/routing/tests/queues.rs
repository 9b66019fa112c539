//! Starting, waiting, being assigned by a rule.

use std::time::Duration;

use bus_schema::{
    Body, ErrorCode,
    claims::Role,
    command::{Actor, Answer, Command, Outcome},
    config::{MemberPriority, WhenOffline},
    state::{
        Candidate, CloseReason, DecisionRule, QueueReason, Refusal, RoutingStatus, Strategy, ThreadStatus,
    },
};

use super::super::{
    Input, Write, WriteFailure,
    settings::{PAUSE, REFUSALS_KEEPING_PLACE},
};
use super::world::*;

#[test]
fn a_start_goes_to_a_free_agent_with_its_reasons() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 2]);
    world.start(1);
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
    let life = world.life(1).clone();
    assert_eq!((life.status, life.assignee_id), (ThreadStatus::Active, Some(agent(1))));
    assert_eq!(life.participants, [agent(1)]);
    assert!(life.started_seq.is_some());
    assert!(world.state(agent(1)).holds(conversation(1)));
    let decision = world.decision(1);
    assert_eq!((decision.rule, decision.chosen), (DecisionRule::LeastLoaded, Some(agent(1))));
    assert_eq!(decision.candidates.len(), 2);
    let nobody_yet = |n| Candidate {
        agent_id: agent(n),
        load: 0,
        capacity: 2,
        priority: MemberPriority::Normal,
        last_assigned_at: None,
        refused: None,
    };
    assert_eq!(decision.candidates, [nobody_yet(1), nobody_yet(2)]);
    assert_eq!((decision.config_revision, decision.waiting_since), (world.revision, Some(life.started_at)));
    // The next is of what holds then.
    let assigned = world.now;
    world.change_agent(agent(1), |record| record.capacity = 3);
    world.start(2);
    let decision = world.decision(2);
    assert_eq!((decision.chosen, decision.config_revision), (Some(agent(2)), world.revision));
    let first = Candidate { load: 1, capacity: 3, last_assigned_at: Some(assigned), ..nobody_yet(1) };
    assert_eq!(decision.candidates, [nobody_yet(2), first]);
    world.check();
}

#[test]
fn a_decision_says_of_each_member_why_they_were_passed_over() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1; 7]);
    let places = [MemberPriority::Supervisor, MemberPriority::Last, MemberPriority::First];
    world.change_group(1, |group| {
        group.members.iter_mut().zip(places).for_each(|(member, priority)| member.priority = priority);
    });
    world.delete_agent(agent(4));
    world.stop_accepting(agent(5));
    world.disconnect(agent(6), edge(1), 2);
    world.configure_group(2, Strategy::LeastLoaded, &[agent(7)]);
    world.start_in(1, Some(group(2)));
    world.start(2);
    let candidates = world.decision(2).candidates;
    let said: Vec<_> = candidates.iter().map(|c| (c.agent_id, c.priority, c.refused)).collect();
    let normal = MemberPriority::Normal;
    let expected = [
        (agent(3), MemberPriority::First, None),
        (agent(2), MemberPriority::Last, None),
        (agent(1), MemberPriority::Supervisor, Some(Refusal::SupervisorMember)),
        (agent(4), normal, Some(Refusal::Deleted)),
        (agent(5), normal, Some(Refusal::NotAccepting)),
        (agent(6), normal, Some(Refusal::Offline)),
        (agent(7), normal, Some(Refusal::AtCapacity)),
    ];
    assert_eq!(said, expected);
    world.check();
}

#[test]
fn a_decision_says_since_when_the_thread_waited_in_this_queue() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.configure_group(2, Strategy::LeastLoaded, &[agent(2)]);
    world.stop_accepting(agent(2));
    world.start(1);
    world.wait(Duration::from_secs(2));
    world.transfer(1, (None, Some(group(2))), true, supervisor());
    let since = Some(world.now);
    assert_eq!((world.decision(1).chosen, world.decision(1).waiting_since), (None, since));
    world.wait(Duration::from_secs(2));
    world.accept(agent(2));
    assert_eq!((world.decision(1).chosen, world.decision(1).waiting_since), (Some(agent(2)), since));
    world.check();
}

#[test]
fn least_loaded_counts_the_share_of_capacity_used() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 10]);
    for n in 1..=12 {
        world.start(n);
    }
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (2, 10));
    for n in 1..=12 {
        let decision = world.decision(n);
        let share = |c: &bus_schema::state::Candidate| f64::from(c.load) / f64::from(c.capacity);
        let open = decision.candidates.iter().filter(|c| c.refused.is_none());
        let least = open.map(share).fold(f64::INFINITY, f64::min);
        let chosen = decision.candidates.iter().find(|c| Some(c.agent_id) == decision.chosen).unwrap();
        assert_eq!(share(chosen), least);
    }
}

#[test]
fn round_robin_spreads_within_one() {
    let mut world = World::with_group(Strategy::RoundRobin, &[100, 50, 100]);
    for n in 1..=31 {
        world.start(n);
        let loads = [1, 2, 3].map(|n| world.load(agent(n)));
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    }
}

#[test]
fn round_robin_takes_turns_within_one_batch_and_millisecond() {
    let mut world = World::with_group(Strategy::RoundRobin, &[50, 50, 50]);
    (1..=3).for_each(|n| world.stop_accepting(agent(n)));
    for n in 1..=30 {
        world.start(n);
    }
    world.hold_writes = true;
    for n in 1..=3 {
        let status = bus_schema::state::RoutingStatus::Accepting;
        let actor = Actor::agent(agent(n), Role::Agent);
        world.send(actor, Command::SetStatus { agent_id: agent(n), status });
    }
    world.release_writes();
    assert_eq!([1, 2, 3].map(|n| world.load(agent(n))).iter().sum::<u32>(), 30);
    let loads = [1, 2, 3].map(|n| world.load(agent(n)));
    assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    world.check();
}

#[test]
fn the_longest_waiting_is_assigned_first_when_an_agent_accepts() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[3]);
    world.stop_accepting(agent(1));
    for n in 1..=5 {
        world.start(n);
        assert_eq!(world.life_kinds(n), ["started", "queued"]);
    }
    assert_eq!(world.decision(1).rule, DecisionRule::NobodyFree);
    assert_eq!(world.decision(1).candidates[0].refused, Some(Refusal::NotAccepting));
    world.accept(agent(1));
    assert_eq!([1, 2, 3, 4, 5].map(|n| world.assignee(n).is_some()), [true, true, true, false, false]);
    world.close(1, Actor::visitor(visitor(1)));
    assert!(world.assignee(4).is_some());
    assert!(world.assignee(5).is_none());
    world.check();
}

#[test]
fn a_queue_says_why_it_waits() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.start(2);
    let desk = |n: u128, world: &World| {
        let last = world.bus.log.iter().rev().find_map(|stored| {
            let event = stored.event.as_ref()?;
            let desk = event.body.desk_state().filter(|_| event.conversation_id == Some(conversation(n)))?;
            desk.queue.clone()
        });
        last.unwrap()
    };
    assert_eq!(desk(2, &world).reason, QueueReason::AllBusy);
    world.configure_group(2, Strategy::Manual, &[agent(1)]);
    world.start_in(3, Some(group(2)));
    assert_eq!(desk(3, &world).reason, QueueReason::Manual);
}

#[test]
fn a_manual_group_waits_for_someone_to_take() {
    let mut world = World::with_group(Strategy::Manual, &[2]);
    world.start(1);
    assert_eq!(world.assignee(1), None);
    assert_eq!(code(&world.take(1, agent(1), Role::Agent)), None);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.check();
}

#[test]
fn members_who_come_first_are_asked_first_and_supervisors_never() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1, 1]);
    world.change_group(1, |group| {
        group.members[0].priority = MemberPriority::Supervisor;
        group.members[1].priority = MemberPriority::Last;
        group.members[2].priority = MemberPriority::First;
    });
    for n in 1..=3 {
        world.start(n);
    }
    assert_eq!([1, 2, 3].map(|n| world.assignee(n)), [Some(agent(3)), Some(agent(2)), None]);
    world.check();
}

#[test]
fn a_thread_without_a_group_goes_to_anyone_of_the_tenant() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start_in(1, None);
    assert_eq!(world.assignee(1), Some(agent(1)));
}

#[test]
fn a_group_that_is_deleted_leaves_its_queue_to_everyone() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.configure_group(2, Strategy::LeastLoaded, &[]);
    world.start_in(1, Some(group(2)));
    assert_eq!(world.assignee(1), None);
    world.change_group(2, |group| group.deleted = true);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.check();
}

#[test]
fn new_members_serve_the_queue_at_once() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    world.configure_group(2, Strategy::LeastLoaded, &[]);
    world.start_in(1, Some(group(2)));
    world.configure_group(2, Strategy::LeastLoaded, &[agent(1)]);
    assert_eq!(world.assignee(1), Some(agent(1)));
}

#[test]
fn more_capacity_serves_the_queue_at_once_and_less_takes_nothing_away() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.start(2);
    assert_eq!(world.assignee(2), None);
    world.configure_agent(agent(1), 2);
    assert_eq!(world.assignee(2), Some(agent(1)));
    world.configure_agent(agent(1), 1);
    assert_eq!((world.state(agent(1)).capacity, world.load(agent(1))), (1, 2));
    world.close(1, Actor::visitor(visitor(1)));
    world.start(3);
    assert_eq!(world.assignee(3), None);
    world.check();
}

#[test]
fn a_full_queue_turns_starts_away() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.change_group(1, |group| group.queue_max = Some(1));
    for n in 1..=3 {
        world.start(n);
    }
    assert_eq!(world.life_kinds(2), ["started", "queued"]);
    assert_eq!(world.life_kinds(3), ["started", "closed"]);
    let admit =
        Command::Admit { conversation_id: conversation(4), group_id: Some(group(1)), widget_id: None };
    assert_eq!(code(&world.command(Actor::SYSTEM, admit)), Some(ErrorCode::QueueFull));
    world.check();
}

#[test]
fn a_group_that_closes_when_nobody_is_there_does() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.change_group(1, |group| group.when_offline = WhenOffline::Close);
    let admit =
        || Command::Admit { conversation_id: conversation(4), group_id: Some(group(1)), widget_id: None };
    let admitted = Outcome::Accepted { answer: Answer::Admitted { group_id: Some(group(1)) } };
    assert_eq!(world.command(Actor::SYSTEM, admit()), admitted);
    world.disconnect(agent(1), edge(1), 2);
    assert_eq!(code(&world.command(Actor::SYSTEM, admit())), Some(ErrorCode::GroupOffline));
    world.start(1);
    assert_eq!(world.life(1).status, ThreadStatus::Closed);
    assert_eq!(world.life_kinds(1), ["started", "closed"]);
    let reason = world.bus.log.iter().rev().find_map(|s| match &s.event.as_ref()?.body {
        bus_schema::Body::Closed(closed) => Some(closed.reason),
        _ => None,
    });
    assert_eq!(reason, Some(CloseReason::GroupOffline));
}

#[test]
fn five_hundred_starts_fill_everyone_exactly() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[7; 20]);
    for n in 1..=500 {
        world.start(n);
    }
    assert!((1..=20).all(|n| world.load(agent(n)) == 7));
    assert_eq!((1..=500).filter(|n| world.assignee(*n).is_some()).count(), 140);
    assert_eq!(world.routing.stats().queued, 360);
    world.check();
}

#[test]
fn a_restarted_router_goes_on_where_the_log_ends() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    for n in 1..=6 {
        world.start(n);
    }
    world.hold_writes = true;
    world.start(7);
    let reason = CloseReason::Resolved;
    let close = Command::Close { conversation_id: conversation(1), thread_id: None, reason };
    world.send(Actor::visitor(visitor(1)), close);
    assert_eq!(world.held.len(), 2);
    world.hold_writes = false;
    world.held.clear();
    world.restart();
    assert_eq!(world.life_kinds(7), ["started", "queued"]);
    world.close(1, Actor::visitor(visitor(1)));
    assert!(world.assignee(3).is_some());
    world.wait(Duration::from_secs(30));
    world.check();
}

#[test]
fn an_unreadable_state_freezes_its_subject_and_nothing_else() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[5]);
    world.start(1);
    let at = world.now;
    let junk = |subject, seq| super::super::Stored::decode(subject, seq, at, b"{\"v\":1}");
    let seq = world.bus.log.len() as u64 + 100;
    world.input(super::super::Input::Log(junk(life_subject(conversation(1)), seq)));
    assert_eq!(world.routing.counters().unreadable, 1);
    assert_eq!(world.routing.frozen(10), [life_subject(conversation(1))]);
    assert_eq!(code(&world.close(1, Actor::visitor(visitor(1)))), Some(ErrorCode::Internal));
    world.start(2);
    assert_eq!(world.assignee(2), Some(agent(1)));
}

#[test]
fn who_waits_for_an_agent_that_is_not_to_be_had_after_all_is_told_so() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.stop_accepting(agent(1));
    world.hold_writes = true;
    let accept = Command::SetStatus { agent_id: agent(1), status: RoutingStatus::Accepting };
    world.send(Actor::agent(agent(1), Role::Agent), accept);
    world.start(1);
    world.hold_writes = false;
    let write = world.held.pop().unwrap().id;
    world.input(Input::WriteFailed { id: write, why: WriteFailure::Refused });
    world.wait(Duration::from_secs(1));
    assert_eq!(world.life_kinds(1), ["started", "queued"]);
    world.check();
}

#[test]
fn why_it_still_waits_is_answered_as_it_is_now() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.stop_accepting(agent(2));
    for n in 1..=3 {
        world.start(n);
    }
    let explain = |n| Command::Explain { conversation_id: conversation(n) };
    let waits = |outcome: Outcome| match outcome {
        Outcome::Accepted { answer: Answer::Explained { waits } } => waits,
        other => panic!("{other:?}"),
    };
    let why = waits(world.command(supervisor(), explain(3))).unwrap();
    assert_eq!((why.place.position, why.reason), (2, QueueReason::AllBusy));
    let refused: Vec<_> = why.decision.candidates.iter().map(|c| (c.agent_id, c.refused)).collect();
    assert_eq!(refused, [(agent(1), Some(Refusal::AtCapacity)), (agent(2), Some(Refusal::NotAccepting))]);
    // What was stored when it was queued is of then.
    world.stop_accepting(agent(1));
    world.disconnect(agent(2), edge(1), 2);
    world.close(2, supervisor());
    let why = waits(world.command(Actor::agent(agent(1), Role::Agent), explain(3))).unwrap();
    assert_eq!((why.place.position, why.reason), (1, QueueReason::NoAgentAccepting));
    assert_eq!(why.decision.candidates[1].refused, Some(Refusal::Offline));
    assert_eq!(waits(world.command(supervisor(), explain(1))), None, "somebody has it");
    let stranger = Actor::agent(agent(7), Role::Agent);
    assert_eq!(code(&world.command(stranger, explain(3))), Some(ErrorCode::NotFound));
    let visitors = Actor::visitor(visitor(3));
    assert_eq!(code(&world.command(visitors, explain(3))), Some(ErrorCode::Forbidden));
}

#[test]
fn what_is_in_the_way_is_named_as_it_is_now() {
    let manual = World::with_group(Strategy::Manual, &[1]);
    let offered = World::with_group(Strategy::Broadcast, &[1]);
    let mut closed = World::with_group(Strategy::LeastLoaded, &[1]);
    super::strategies::before_opening(&mut closed);
    let mut unskilled = World::with_group(Strategy::LeastLoaded, &[1]);
    unskilled.stop_accepting(agent(1));
    for (mut world, reason, refused) in [
        (manual, QueueReason::Manual, None),
        (offered, QueueReason::Offered, None),
        (closed, QueueReason::OutsideHours, None),
        (unskilled, QueueReason::NoSkilledAgent, Some(Refusal::LacksSkill)),
    ] {
        world.start(1);
        if refused.is_some() {
            world.set_skills(1, &["latin"], supervisor());
            world.accept(agent(1));
        }
        world.wait(Duration::from_secs(1));
        let explain = Command::Explain { conversation_id: conversation(1) };
        let Outcome::Accepted { answer: Answer::Explained { waits: Some(why) } } =
            world.command(supervisor(), explain)
        else {
            panic!("it waits")
        };
        let candidates: Vec<_> = why.decision.candidates.iter().map(|c| (c.agent_id, c.refused)).collect();
        assert_eq!((why.reason, candidates), (reason, vec![(agent(1), refused)]));
        assert_eq!((why.decision.rule, why.decision.chosen), (DecisionRule::NobodyFree, None));
        assert_eq!(why.decision.config_revision, world.revision);
        assert_eq!(why.decision.waiting_since, Some(world.life(1).started_at));
        world.check();
    }
}

/// One agent with a thread, and two that wait; the visitor of the first of them closes it, and the bus keeps that.
fn a_close_under_way() -> (World, super::super::Write) {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=3 {
        world.start(n);
    }
    let close = |n| Command::Close {
        conversation_id: conversation(n),
        thread_id: None,
        reason: CloseReason::ClosedByVisitor,
    };
    world.hold_writes = true;
    world.send(Actor::visitor(visitor(2)), close(2));
    let close_of_2 = world.held.pop().expect("the close is written");
    world.hold_writes = false;
    world.close(1, Actor::agent(agent(1), Role::Agent));
    assert_eq!((world.load(agent(1)), world.assignee(3)), (0, None), "the second may keep its place");
    (world, close_of_2)
}

#[test]
fn fifo_holds_when_the_first_was_not_closed_after_all() {
    let (mut world, close_of_2) = a_close_under_way();
    world.input(Input::WriteFailed { id: close_of_2.id, why: WriteFailure::Refused });
    world.wait(Duration::from_secs(1));
    assert_eq!((world.assignee(2), world.assignee(3)), (Some(agent(1)), None));
    world.check();
}

#[test]
fn the_next_is_served_once_the_first_is_known_to_be_closed() {
    let (mut world, close_of_2) = a_close_under_way();
    world.held.push(close_of_2);
    world.release_writes();
    assert_eq!(world.life(2).status, ThreadStatus::Closed);
    assert_eq!(world.assignee(3), Some(agent(1)));
    world.check();
}

#[test]
fn one_whose_writes_are_refused_keeps_its_place_for_a_while_and_not_for_ever() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.bus.strict_fifo = false;
    (1..=2).for_each(|n| world.stop_accepting(agent(n)));
    for n in 1..=3 {
        world.start(n);
    }
    world.hold_writes = true;
    for n in 1..=2 {
        let accept = Command::SetStatus { agent_id: agent(n), status: RoutingStatus::Accepting };
        world.send(Actor::agent(agent(n), Role::Agent), accept);
    }
    let mut refused = 0;
    while world.life(2).assignee_id.is_none() || world.life(3).assignee_id.is_none() {
        for write in std::mem::take(&mut world.held) {
            let of = |n| {
                write.messages.iter().any(|message| message.event.conversation_id == Some(conversation(n)))
            };
            if of(1) {
                refused += 1;
                world.input(Input::WriteFailed { id: write.id, why: WriteFailure::Refused });
                continue;
            }
            let overtakes = of(2) || of(3);
            assert!(!overtakes || refused > u32::from(REFUSALS_KEEPING_PLACE), "overtaken after {refused}");
            let seqs = world.bus.publish(&write.messages, world.now).unwrap();
            world.input(Input::Written { id: write.id, seqs });
        }
        assert!(refused < 50, "others wait for it for ever");
        world.wait(PAUSE);
    }
    world.check();
}

/// A thread of group 1 that was closed, whose reopening is on its way.
fn reopening(capacities: &[u32]) -> (World, Write) {
    let mut world = World::with_group(Strategy::LeastLoaded, capacities);
    world.start(1);
    world.close(1, supervisor());
    world.hold_writes = true;
    world.send(supervisor(), Command::Reopen { conversation_id: conversation(1), thread_id: None });
    let write = world.held.pop().expect("it is reopened");
    (world, write)
}

#[test]
fn explained_whoever_waits_behind_one_that_is_written_of() {
    let (mut world, _reopening) = reopening(&[]);
    world.start(2);
    let told = world.held.pop().expect("the second is told that it waits");
    assert!(told.messages.iter().all(|message| message.event.conversation_id == Some(conversation(2))));
}

#[test]
fn no_idle_queue_where_the_first_turns_out_to_wait_elsewhere() {
    for capacities in [&[1][..], &[]] {
        let (mut world, reopening) = reopening(capacities);
        world.start(2);
        // The visitor was faster, and started in another group.
        world.configure_group(2, Strategy::LeastLoaded, &[]);
        world.start_in(1, Some(group(2)));
        world.hold_writes = false;
        world.input(Input::WriteFailed { id: reopening.id, why: WriteFailure::Mismatch });
        world.release_writes();
        assert_eq!(world.life(1).group_id, Some(group(2)));
        assert_eq!(world.assignee(2), capacities.first().map(|_| agent(1)));
        world.check();
    }
}

#[test]
fn no_idle_queue_where_whose_turn_it_is_turns_out_not_to_accept() {
    let mut world = World::with_group(Strategy::RoundRobin, &[0, 0]);
    world.start(1);
    world.hold_writes = true;
    (1..=2).for_each(|n| world.configure_agent(agent(n), 1));
    let [first, second] = std::mem::take(&mut world.held).try_into().expect("both are written");
    world.held.push(second);
    world.release_writes();
    assert_eq!(world.assignee(1), None, "it is the first one's turn, as far as is known");
    // Another router was faster: the first one does not accept chats.
    let mut event = first.messages[0].event.clone();
    let Body::AgentCapacitySet(set) = &mut event.body else { panic!("{event:?}") };
    set.state.status = RoutingStatus::NotAccepting;
    world.bus.store(first.messages[0].subject, event, world.now);
    world.input(Input::WriteFailed { id: first.id, why: WriteFailure::Mismatch });
    assert_eq!(world.assignee(1), Some(agent(2)));
    world.check();
}
