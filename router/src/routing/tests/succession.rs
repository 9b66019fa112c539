//! `thread_per_assignment`: whoever gets an active thread from somebody gets its successor, in one step.

use bus_schema::{
    CommandId,
    claims::Role,
    command::{Actor, Answer, Command, CommandRequest, Outcome},
    state::{COMMANDS_KEPT, CloseReason, Priority, Strategy, ThreadStatus},
};
use uuid::Uuid;

use super::super::{Effect, Input, Routing, Stored, Token};
use super::world::*;

fn world(capacities: &[u32]) -> World {
    let mut world = World::with_group(Strategy::LeastLoaded, capacities);
    world.change_tenant(|tenant| tenant.thread_per_assignment = true);
    world
}

#[test]
fn an_active_thread_that_changes_hands_ends_and_its_successor_begins_in_one_step() {
    let mut world = world(&[2, 2]);
    let first = world.start(1);
    world.set_priority(1, Priority::High, supervisor());
    assert_eq!(world.assignee(1), Some(agent(1)));
    let outcome = world.assign(1, agent(2), supervisor());
    let kinds = ["started", "assigned", "closed", "started", "assigned"];
    assert_eq!(world.life_kinds(1), kinds);
    let life = world.life(1).clone();
    assert_ne!(life.thread_id, first);
    assert_eq!((life.previous_thread_id, life.continues), (Some(first), true));
    assert_eq!((life.status, life.assignee_id), (ThreadStatus::Active, Some(agent(2))));
    assert_eq!((world.load(agent(1)), world.load(agent(2))), (0, 1));
    assert_eq!(world.state(agent(2)).conversations[0].thread_id, life.thread_id);
    assert_eq!(world.desk(1).priority, Priority::High, "what it wants goes with it");
    let Outcome::Accepted { answer: Answer::Thread { thread_id, assignee_id, seq } } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((thread_id, assignee_id), (life.thread_id, Some(agent(2))));
    assert_eq!(seq, world.bus.last_seq(life_subject(conversation(1))));
    world.check();
    world.restart();
    world.wait(GRACE);
    assert_eq!(world.routing.counters().mended, 0);
    assert_eq!(code(&world.close(1, supervisor())), None);
    assert_eq!(world.load(agent(2)), 0);
    world.check();
}

#[test]
fn transfers_and_takes_make_successors_and_a_queued_thread_stays_the_same() {
    let mut world = world(&[2, 2]);
    world.configure_agent(agent(900), 3);
    let first = world.start(1);
    let me = Actor::agent(agent(1), Role::Agent);
    assert_eq!(code(&world.transfer(1, (Some(agent(2)), None), false, me)), None);
    let second = world.life(1).thread_id;
    assert_ne!(second, first);
    assert_eq!(world.life_kinds(1)[2..], ["closed", "started", "transferred"]);
    assert_eq!(world.life(1).participants, [agent(2)]);
    assert_eq!(code(&world.take(1, agent(900), Role::Supervisor)), None);
    let third = world.life(1).clone();
    assert_eq!((third.previous_thread_id, third.assignee_id), (Some(second), Some(agent(900))));
    // Whoever gets it from the queue gets the thread that waits.
    assert_eq!(code(&world.transfer(1, (None, Some(group(1))), true, supervisor())), None);
    world.stop_accepting(agent(1));
    world.stop_accepting(agent(2));
    let waiting = world.start(2);
    assert_eq!(code(&world.assign(2, agent(2), supervisor())), None);
    assert_eq!(world.life(2).thread_id, waiting);
    world.check();
}

#[test]
fn a_repeat_opens_no_second_successor_also_after_a_restart() {
    let mut world = world(&[2, 2]);
    let thread = world.start(1);
    let assign =
        || Command::Assign { conversation_id: conversation(1), thread_id: Some(thread), agent_id: agent(2) };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC7));
    let first = world.repeat(id, supervisor(), assign());
    assert_eq!(code(&first), None);
    let length = world.bus.log.len();
    assert_eq!(world.repeat(id, supervisor(), assign()), first);
    world.restart();
    assert_eq!(world.repeat(id, supervisor(), assign()), first);
    assert_eq!(world.bus.log.len(), length);
    world.check();
}

#[test]
fn without_the_setting_the_thread_goes_on() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[2, 2]);
    let thread = world.start(1);
    world.assign(1, agent(2), supervisor());
    assert_eq!((world.life(1).thread_id, world.closed(1)), (thread, None::<CloseReason>));
}

#[test]
fn a_repeat_is_answered_with_the_successor_also_when_nothing_records_the_command_any_more() {
    let mut world = world(&[2, 2]);
    let thread = world.start(1);
    let assign =
        || Command::Assign { conversation_id: conversation(1), thread_id: Some(thread), agent_id: agent(2) };
    let id = CommandId::from_uuid(Uuid::from_u128(0xC7));
    assert_eq!(code(&world.repeat(id, supervisor(), assign())), None);
    let successor = world.life(1).thread_id;
    for n in 0..COMMANDS_KEPT {
        let priority = if n % 2 == 0 { Priority::High } else { Priority::Normal };
        world.set_priority(1, priority, supervisor());
    }
    let answered = |outcome: &Outcome| match outcome {
        Outcome::Accepted { answer: Answer::Thread { thread_id, assignee_id, .. } } => {
            (*thread_id, *assignee_id)
        }
        other => panic!("{other:?}"),
    };
    let length = world.bus.log.len();
    assert_eq!(answered(&world.repeat(id, supervisor(), assign())), (successor, Some(agent(2))));
    // One that only read it: the successor, and what closed the thread before it.
    let log = world.bus.log.clone();
    let told = |read: &[Stored]| {
        let mut other = Routing::new(settings(77));
        for stored in read {
            other.handle(Input::Log(stored.clone()), world.now);
        }
        other.handle(Input::Activate, world.now);
        let request =
            CommandRequest { command_id: id, actor: supervisor(), deadline: None, command: assign() };
        other.handle(Input::Command { token: Token(1), tenant: TENANT, request }, world.now);
        std::iter::from_fn(|| other.poll_effect()).find_map(|effect| match effect {
            Effect::Reply { outcome, .. } => Some(answered(&outcome)),
            _ => None,
        })
    };
    assert_eq!(told(&log), Some((successor, Some(agent(2)))));
    let closed = log.iter().position(|stored| stored.event.as_ref().unwrap().body.name() == "closed");
    assert_eq!(told(&log[..=closed.unwrap()]), Some((successor, None)), "it is about to be read");
    world.restart();
    assert_eq!(answered(&world.repeat(id, supervisor(), assign())), (successor, Some(agent(2))));
    assert_eq!(world.bus.log.len(), length);
    world.check();
}
