//! What people ask for: take, assign, close, status.

use bus_schema::{
    CommandId, ErrorCode, Shard, Subject, ThreadId,
    claims::Role,
    command::{Actor, Answer, Command, CommandRequest, Outcome},
    config::RecordId,
    state::{CloseReason, DecisionRule, RoutingStatus, Strategy, ThreadStatus},
};
use uuid::Uuid;

use super::super::{Input, Stored, Token, Unseen};
use super::world::*;

#[test]
fn fifty_agents_take_one_thread_and_one_has_it() {
    let mut world = World::with_group(Strategy::Manual, &[1; 50]);
    world.start(1);
    world.hold_writes = true;
    let tokens: Vec<u64> = (1..=50)
        .map(|n| {
            let command = Command::Take { conversation_id: conversation(1), thread_id: None };
            world.send(Actor::agent(agent(n), Role::Agent), command)
        })
        .collect();
    world.release_writes();
    let outcomes: Vec<Outcome> = tokens.iter().map(|token| world.replies.remove(token).unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| code(outcome).is_none()).count(), 1);
    let refused = outcomes.iter().filter(|outcome| code(outcome) == Some(ErrorCode::AlreadyAssigned));
    assert_eq!(refused.count(), 49);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.check();
}

#[test]
fn take_obeys_capacity_membership_and_role() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    world.configure_agent(agent(2), 5);
    world.start(1);
    world.start(2);
    assert_eq!(code(&world.take(1, agent(2), Role::Agent)), Some(ErrorCode::Forbidden));
    let visitors = Command::Take { conversation_id: conversation(1), thread_id: None };
    assert_eq!(code(&world.command(Actor::visitor(visitor(1)), visitors)), Some(ErrorCode::Forbidden));
    assert_eq!(code(&world.take(1, agent(1), Role::Agent)), None);
    assert_eq!(code(&world.take(2, agent(1), Role::Agent)), Some(ErrorCode::OverCapacity));
    assert_eq!(code(&world.take(99, agent(1), Role::Agent)), Some(ErrorCode::NotFound));
    world.check();
}

#[test]
fn supervisors_take_from_an_agent_whose_slot_is_free_at_once() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.configure_agent(agent(900), 3);
    world.start(1);
    world.start(2);
    assert_eq!(world.assignee(2), None);
    assert_eq!(code(&world.take(1, agent(900), Role::Supervisor)), None);
    assert_eq!(world.assignee(1), Some(agent(900)));
    assert_eq!(world.life(1).participants, [agent(900)]);
    assert_eq!(world.assignee(2), Some(agent(1)), "the freed slot serves the queue");
    world.check();
}

#[test]
fn supervisors_assign_and_the_answer_says_where_it_is_stored() {
    let mut world = World::with_group(Strategy::Manual, &[1, 1]);
    let thread = world.start(1);
    let by_agent = world.assign(1, agent(1), Actor::agent(agent(1), Role::Agent));
    assert_eq!(code(&by_agent), Some(ErrorCode::Forbidden));
    let outcome = world.assign(1, agent(2), supervisor());
    let Outcome::Accepted { answer: Answer::Thread { thread_id, assignee_id, seq } } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((thread_id, assignee_id), (thread, Some(agent(2))));
    assert_eq!(seq, world.bus.last_seq(life_subject(conversation(1))));
    let decision = world.decision(1);
    assert_eq!((decision.rule, decision.strategy), (DecisionRule::AssignedBySupervisor, None));
    assert_eq!(code(&world.assign(1, agent(7), supervisor())), Some(ErrorCode::NotFound));
    assert_eq!(code(&world.assign(1, agent(1), bot())), None);
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (1, 0));
    world.start(2);
    assert_eq!(code(&world.assign(2, agent(1), supervisor())), Some(ErrorCode::OverCapacity));
    world.check();
}

#[test]
fn who_is_given_a_chat_while_away_keeps_it_until_they_come_and_go() {
    let mut world = World::new();
    world.configure_agent(agent(1), 1);
    world.configure_group(1, Strategy::LeastLoaded, &[agent(1)]);
    world.start(1);
    assert_eq!(code(&world.assign(1, agent(1), supervisor())), None);
    world.wait(GRACE * 3);
    assert_eq!(world.assignee(1), Some(agent(1)));
    world.lease(edge(1), true);
    world.connect(agent(1), edge(1), 1);
    world.disconnect(agent(1), edge(1), 2);
    world.wait(GRACE * 2);
    assert_eq!(world.assignee(1), None);
}

#[test]
fn visitors_assignees_and_supervisors_close_and_nobody_else() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 2]);
    for n in 1..=3 {
        world.start(n);
    }
    let stranger = Actor::agent(agent(2), Role::Agent);
    assert_eq!(code(&world.close(1, stranger)), Some(ErrorCode::NotParticipant));
    assert_eq!(code(&world.close(1, Actor::visitor(visitor(2)))), Some(ErrorCode::NotParticipant));
    assert_eq!(code(&world.close(1, Actor::visitor(visitor(1)))), None);
    assert_eq!(code(&world.close(1, Actor::visitor(visitor(1)))), Some(ErrorCode::ThreadClosed));
    assert_eq!(code(&world.close(2, Actor::agent(agent(2), Role::Agent))), None);
    assert_eq!(code(&world.close(3, supervisor())), None);
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (0, 0));
    assert_eq!(world.life(1).status, ThreadStatus::Closed);
    world.start(1);
    assert_eq!(world.life(1).status, ThreadStatus::Active, "a closed conversation starts again");
    world.check();
}

#[test]
fn a_command_names_its_thread_or_means_the_open_one() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    let first = world.start(1);
    world.close(1, supervisor());
    world.start(1);
    let named = |thread: Option<ThreadId>| Command::Close {
        conversation_id: conversation(1),
        thread_id: thread,
        reason: CloseReason::Resolved,
    };
    assert_eq!(code(&world.command(supervisor(), named(Some(first)))), Some(ErrorCode::Conflict));
    assert_eq!(code(&world.command(supervisor(), named(None))), None);
}

#[test]
fn a_repeated_command_answers_the_same_also_by_another_router() {
    let mut world = World::with_group(Strategy::Manual, &[2]);
    world.start(1);
    let take = || Command::Take { conversation_id: conversation(1), thread_id: None };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC0));
    let me = Actor::agent(agent(1), Role::Agent);
    let first = world.repeat(id, me, take());
    let length = world.bus.log.len();
    world.restart();
    let again = world.repeat(id, me, take());
    assert_eq!(again, first);
    let close = || Command::Close {
        conversation_id: conversation(1),
        thread_id: None,
        reason: CloseReason::Resolved,
    };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC1));
    assert_eq!(world.bus.log.len(), length);
    let first = world.repeat(id, me, close());
    world.restart();
    assert_eq!(world.repeat(id, me, close()), first);
    let status = || Command::SetStatus { agent_id: agent(1), status: RoutingStatus::NotAccepting };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC2));
    assert_eq!(world.repeat(id, me, status()), Outcome::DONE);
    world.accept(agent(1));
    world.restart();
    assert_eq!(world.repeat(id, me, status()), Outcome::DONE);
    assert_eq!(world.state(agent(1)).status, RoutingStatus::Accepting, "a repeat does nothing");
}

#[test]
fn a_deleted_agent_loses_everything_and_gets_nothing() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[20, 20]);
    for n in 1..=20 {
        world.start(n);
    }
    world.delete_agent(agent(1));
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (0, 20));
    assert!((1..=20).all(|n| world.assignee(n) == Some(agent(2))));
    assert_eq!(code(&world.assign(1, agent(1), supervisor())), Some(ErrorCode::AgentUnavailable));
    world.check();
}

#[test]
fn commands_to_a_router_that_stands_by_are_refused() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.input(super::super::Input::StandBy);
    world.start(1);
    assert_eq!(world.life_kinds(1), ["started"]);
    assert_eq!(code(&world.close(1, supervisor())), Some(ErrorCode::Unavailable));
    world.input(super::super::Input::Activate);
    assert_eq!(world.life_kinds(1), ["started", "assigned"]);
}

#[test]
fn a_command_that_waited_too_long_does_not_happen() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.hold_writes = true;
    let command = || Command::Close {
        conversation_id: conversation(1),
        thread_id: None,
        reason: CloseReason::Resolved,
    };
    let status = Command::SetStatus { agent_id: agent(1), status: RoutingStatus::NotAccepting };
    world.send(Actor::agent(agent(1), Role::Agent), status);
    let token = world.send(supervisor(), command());
    assert!(!world.replies.contains_key(&token), "it needs the agent, whose write is under way");
    world.wait(std::time::Duration::from_secs(6));
    world.release_writes();
    assert_eq!(code(&world.replies[&token]), Some(ErrorCode::Timeout));
    assert_eq!(world.life(1).status, ThreadStatus::Active);
}

#[test]
fn nothing_is_written_over_an_agent_state_that_cannot_be_read() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.configure_agent(agent(2), 1);
    let subject = Subject::Agent { shard: Shard(0), tenant: TENANT, agent: agent(1) };
    let before = world.bus.last_seq(subject);
    let junk = Stored::decode(subject, before + 1_000_000, world.now, b"{\"v\":1}");
    world.input(Input::Log(junk));
    world.assign(1, agent(2), supervisor());
    assert_eq!(world.assignee(1), Some(agent(2)));
    assert_eq!(world.bus.last_seq(subject), before);
}

#[test]
fn a_command_whose_caller_gave_up_does_not_happen() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    let close =
        Command::Close { conversation_id: conversation(1), thread_id: None, reason: CloseReason::Resolved };
    let deadline = Some(world.now.plus(std::time::Duration::from_millis(700)));
    let request = |n: u128| CommandRequest {
        command_id: CommandId::from_uuid(Uuid::from_u128(n)),
        actor: supervisor(),
        deadline,
        command: close.clone(),
    };
    world.hold_writes = true;
    world.send(
        Actor::agent(agent(1), Role::Agent),
        Command::SetStatus { agent_id: agent(1), status: RoutingStatus::NotAccepting },
    );
    world.input(Input::Command { token: Token(9001), tenant: TENANT, request: request(0xD1) });
    world.wait(std::time::Duration::from_secs(1));
    world.release_writes();
    assert_eq!(code(&world.replies[&9001]), Some(ErrorCode::Timeout), "it waited for the agent");
    world.input(Input::Command { token: Token(9002), tenant: TENANT, request: request(0xD2) });
    assert_eq!(code(&world.replies[&9002]), Some(ErrorCode::Timeout), "it came late");
    assert_eq!(world.life(1).status, ThreadStatus::Active);
}

#[test]
fn a_close_that_is_asked_again_does_not_end_a_later_thread() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    let first = world.start(1);
    let id = CommandId::from_uuid(Uuid::from_u128(0xC3));
    let close = |thread_id| Command::Close {
        conversation_id: conversation(1),
        thread_id,
        reason: CloseReason::ClosedByVisitor,
    };
    let visitors = Actor::visitor(visitor(1));
    assert_eq!(code(&world.repeat(id, visitors, close(Some(first)))), None);
    let second = world.start(1);
    for named in [Some(first), None] {
        let again = world.repeat(id, visitors, close(named));
        let Outcome::Accepted { answer: Answer::Thread { thread_id, .. } } = again else {
            panic!("{again:?}")
        };
        assert_eq!(thread_id, first);
    }
    // Another router does not know who closed the first one, and leaves the second alone as well.
    world.restart();
    assert_eq!(code(&world.repeat(id, visitors, close(Some(first)))), Some(ErrorCode::Conflict));
    assert_eq!((world.life(1).thread_id, world.life(1).status), (second, ThreadStatus::Active));
}

#[test]
fn what_a_command_names_and_was_never_seen_is_asked_for_first() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2]);
    let thread = world.start(1);
    let unseen = |world: &World, command: &Command| world.routing.unseen(TENANT, command);
    let admit = |group_id| Command::Admit { conversation_id: conversation(9), group_id, widget_id: None };
    world.change_tenant(|tenant| tenant.default_group_id = Some(group(3)));
    assert_eq!(unseen(&world, &admit(Some(group(1)))), []);
    assert_eq!(unseen(&world, &admit(Some(group(2)))), [Unseen::Record(RecordId::Group(group(2)))]);
    assert_eq!(unseen(&world, &admit(None)), [Unseen::Record(RecordId::Group(group(3)))], "the default");
    let assign = |n, thread_id, to| Command::Assign {
        conversation_id: conversation(n),
        thread_id,
        agent_id: agent(to),
    };
    assert_eq!(unseen(&world, &assign(1, Some(thread), 1)), []);
    assert_eq!(unseen(&world, &assign(1, None, 7)), [Unseen::Record(RecordId::Agent(agent(7)))]);
    let life = |n| Unseen::State(life_subject(conversation(n)));
    assert_eq!(unseen(&world, &assign(2, None, 1)), [life(2)]);
    assert_eq!(unseen(&world, &assign(1, Some(ThreadId::NIL), 1)), [life(1)], "it may have begun just now");
    world.close(1, supervisor());
    assert_eq!(unseen(&world, &assign(1, Some(thread), 1)), []);
}
