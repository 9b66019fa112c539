//! Lists from memory.

use bus_schema::{
    ErrorCode, GroupId,
    claims::Role,
    command::{Actor, Answer, Command, Outcome, View},
    protocol::GroupStatus,
    state::{AgentStatus, Strategy},
};

use super::world::*;

fn list(view: View, group_id: Option<GroupId>, limit: u32, cursor: Option<String>) -> Command {
    Command::ListConversations { view, group_id, limit, cursor }
}

#[test]
fn pages_follow_each_other_without_gaps_or_repeats() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[3]);
    for n in 1..=10 {
        world.start(n);
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let (page, next, total) = listed(world.command(supervisor(), list(View::All, None, 4, cursor)));
        assert_eq!(total, 10);
        seen.extend(page.iter().map(|view| view.id));
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    assert_eq!(seen, (1..=10).map(conversation).collect::<Vec<_>>());
    let bad = world.command(supervisor(), list(View::All, None, 4, Some("x".into())));
    assert_eq!(code(&bad), Some(ErrorCode::InvalidRequest));
}

#[test]
fn agents_see_their_groups_and_what_is_theirs() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.configure_agent(agent(2), 5);
    world.configure_group(2, Strategy::LeastLoaded, &[agent(2)]);
    world.start(1);
    world.start(2);
    world.start_in(3, Some(group(2)));
    world.assign(2, agent(2), supervisor());
    let one = Actor::agent(agent(1), Role::Agent);
    let two = Actor::agent(agent(2), Role::Agent);
    let ids = |outcome| listed(outcome).0.iter().map(|view| view.id).collect::<Vec<_>>();
    assert_eq!(ids(world.command(one, list(View::All, None, 0, None))), [conversation(1), conversation(2)]);
    assert_eq!(ids(world.command(two, list(View::All, None, 0, None))), [conversation(2), conversation(3)]);
    assert_eq!(ids(world.command(two, list(View::Mine, None, 0, None))), [conversation(2)]);
    assert_eq!(ids(world.command(two, list(View::Queue, None, 0, None))), [conversation(3)]);
    let foreign = world.command(two, list(View::Group, Some(group(1)), 0, None));
    assert_eq!(code(&foreign), Some(ErrorCode::Forbidden));
    let visitors = world.command(Actor::visitor(visitor(1)), list(View::All, None, 0, None));
    assert_eq!(code(&visitors), Some(ErrorCode::Forbidden));
}

#[test]
fn a_waiting_thread_shows_its_position() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=3 {
        world.start(n);
    }
    let get = |n| Command::GetConversation { conversation_id: conversation(n) };
    let position = |world: &mut World, n| {
        let (views, _, _) = listed(world.command(Actor::SYSTEM, get(n)));
        views.first().and_then(|view| view.thread.queue).map(|queue| queue.position)
    };
    assert_eq!([1, 2, 3].map(|n| position(&mut world, n)), [None, Some(1), Some(2)]);
    world.close(1, supervisor());
    assert_eq!([1, 2, 3].map(|n| position(&mut world, n)), [None, None, Some(1)]);
    assert_eq!(listed(world.command(Actor::SYSTEM, get(1))).2, 0, "closed threads are not in memory");
}

#[test]
fn agents_are_listed_with_what_others_see_of_them() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[3, 2]);
    world.start(1);
    world.disconnect(agent(2), edge(1), 2);
    let outcome = world.command(supervisor(), Command::ListAgents);
    let Outcome::Accepted { answer: Answer::Agents { agents } } = outcome else { panic!("{outcome:?}") };
    let seen: Vec<_> = agents.iter().map(|view| (view.id, view.status, view.load, view.capacity)).collect();
    assert_eq!(seen, [(agent(1), AgentStatus::Accepting, 1, 3), (agent(2), AgentStatus::Offline, 0, 2)]);
}

#[test]
fn groups_are_online_while_somebody_has_room_and_queue_while_somebody_is_there() {
    let mut world = World::with_group(Strategy::Manual, &[1]);
    let status = |world: &mut World| {
        let outcome = world.command(Actor::SYSTEM, Command::ListGroups);
        let Outcome::Accepted { answer: Answer::Groups { groups } } = outcome else { panic!("{outcome:?}") };
        groups[&group(1)]
    };
    assert_eq!(status(&mut world), GroupStatus::Online);
    world.start(1);
    world.assign(1, agent(1), supervisor());
    assert_eq!(status(&mut world), GroupStatus::Queue, "full");
    world.close(1, supervisor());
    world.stop_accepting(agent(1));
    assert_eq!(status(&mut world), GroupStatus::Queue, "there, and not accepting");
    world.disconnect(agent(1), edge(1), 2);
    assert_eq!(status(&mut world), GroupStatus::Offline);
}
