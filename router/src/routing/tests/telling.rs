//! What is told beside the log: places in queues, threads, agents and groups that changed.

use std::time::Duration;

use bus_schema::{
    claims::Role,
    command::{Actor, Command},
    protocol::{AgentView, GroupStatus},
    signal::{Signal, TenantSignal},
    state::{AgentStatus, Strategy, ThreadStatus},
};

use super::super::{Input, Told};
use super::world::*;

const SECOND: Duration = Duration::from_secs(1);

fn places(world: &mut World) -> Vec<(u128, u32, Option<u64>)> {
    let told = std::mem::take(&mut world.told);
    let number = |id| (1..=500).find(|n| conversation(*n) == id).unwrap();
    let place = |told| match told {
        Told::Conversation(to, Signal::QueuePosition { conversation_id, position, wait_s }) => {
            assert_eq!(to, conversation_id);
            Some((number(conversation_id), position, wait_s))
        }
        _ => None,
    };
    told.into_iter().filter_map(place).collect()
}

fn signals(world: &mut World) -> Vec<TenantSignal> {
    let told = std::mem::take(&mut world.told);
    let of_tenant = |told| match told {
        Told::Tenant(_, signal) => Some(signal),
        Told::Conversation(..) => None,
    };
    told.into_iter().filter_map(of_tenant).collect()
}

#[test]
fn who_waits_is_told_the_place_as_it_changes_and_once_a_second() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=4 {
        world.start(n);
    }
    world.wait(SECOND);
    assert_eq!(places(&mut world), [(2, 1, None), (3, 2, None), (4, 3, None)]);
    world.wait(SECOND * 5);
    assert_eq!(places(&mut world), [], "nothing changed");
    // Two leave within a second: one word.
    world.close(2, supervisor());
    world.close(3, supervisor());
    world.wait(SECOND);
    assert_eq!(places(&mut world), [(4, 1, None)]);
    world.close(1, supervisor());
    assert_eq!(world.assignee(4), Some(agent(1)));
    world.wait(SECOND * 2);
    assert_eq!(places(&mut world), [], "who is served waits no more");
}

#[test]
fn who_is_sent_to_another_queue_is_told_the_place_there_a_second_later() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[]);
    world.configure_group(2, Strategy::LeastLoaded, &[]);
    world.start_in(2, Some(group(2)));
    world.wait(SECOND * 2);
    world.start(1);
    world.input(Input::Tick);
    assert_eq!(places(&mut world), [(2, 1, None), (1, 1, None)]);
    world.transfer(1, (None, Some(group(2))), true, supervisor());
    world.input(Input::Tick);
    assert_eq!(places(&mut world), [], "within the same second");
    world.wait(SECOND);
    assert_eq!(places(&mut world), [(1, 2, None)]);
}

#[test]
fn the_expected_wait_follows_the_pace_of_the_queue() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=5 {
        world.start(n);
    }
    let mut last = 1;
    for n in 2..=3 {
        world.wait(SECOND * 30);
        world.close(last, supervisor());
        assert_eq!(world.assignee(n), Some(agent(1)));
        last = n;
    }
    places(&mut world);
    world.wait(SECOND);
    let told = places(&mut world);
    assert_eq!(told, [(4, 1, Some(30)), (5, 2, Some(60))]);
    let (views, _, _) =
        listed(world.command(Actor::SYSTEM, Command::GetConversation { conversation_id: conversation(5) }));
    let queue = views[0].thread.queue.unwrap();
    assert_eq!((queue.position, queue.wait_s), (2, Some(60)));
    world.disconnect(agent(1), edge(1), 2);
    world.wait(SECOND);
    let told = places(&mut world);
    assert_eq!(told, [(4, 1, None), (5, 2, None)], "nobody is there: nothing to go by");
}

#[test]
fn a_long_queue_is_told_in_turns_and_everyone_in_the_end() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=500 {
        world.start(n);
    }
    let mut told = Vec::new();
    for _ in 0..10 {
        world.wait(Duration::from_millis(250));
        let now = places(&mut world);
        assert!(now.len() <= 250, "{}", now.len());
        told.extend(now.into_iter().map(|(_, position, _)| position));
    }
    told.sort_unstable();
    assert_eq!(told, Vec::from_iter(1..=499));
}

#[test]
fn each_stored_change_of_a_thread_is_told_with_its_place_in_the_log() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.told.clear();
    world.start(1);
    let told = signals(&mut world);
    let threads: Vec<_> = told
        .iter()
        .filter_map(|signal| match signal {
            TenantSignal::Thread { conversation, seq, open } => {
                Some((conversation.thread.status, conversation.thread.assignee_id, *seq, *open))
            }
            _ => None,
        })
        .collect();
    let seq = world.bus.log.len() as u64;
    assert_eq!(threads.last(), Some(&(ThreadStatus::Active, Some(agent(1)), seq, true)));
    assert_eq!(threads[0].0, ThreadStatus::Queued);
    world.close(1, Actor::agent(agent(1), Role::Agent));
    let told = signals(&mut world);
    let closed = told.iter().find_map(|signal| match signal {
        TenantSignal::Thread { conversation, open: false, .. } => Some(conversation.clone()),
        _ => None,
    });
    let closed = closed.expect("told");
    assert_eq!((closed.id, closed.thread.status), (conversation(1), ThreadStatus::Closed));
    assert_eq!(closed.thread.assignee_id, Some(agent(1)), "whose it was");
}

#[test]
fn agents_and_groups_are_told_when_they_change_and_together() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.wait(SECOND);
    world.told.clear();
    world.wait(SECOND * 40);
    assert_eq!(signals(&mut world), [], "nothing changed");
    world.start(1);
    world.start(2);
    world.told.clear();
    world.wait(SECOND);
    let view = |n| AgentView { id: agent(n), status: AgentStatus::Accepting, load: 1, capacity: 1 };
    let full = TenantSignal::Group { group_id: group(1), status: GroupStatus::Queue };
    let agents = TenantSignal::Agents { agents: vec![view(1), view(2)] };
    assert_eq!(signals(&mut world), [agents, full]);
    world.disconnect(agent(1), edge(1), 2);
    world.disconnect(agent(2), edge(1), 2);
    world.told.clear();
    world.wait(SECOND);
    let told = signals(&mut world);
    assert!(
        told.contains(&TenantSignal::Group { group_id: group(1), status: GroupStatus::Offline }),
        "{told:?}"
    );
    world.delete_agent(agent(2));
    world.wait(SECOND);
    let gone = AgentView { status: AgentStatus::Offline, load: 0, ..view(2) };
    assert!(signals(&mut world).contains(&TenantSignal::Agents { agents: vec![gone] }));
}

#[test]
fn only_who_decides_speaks_and_says_everything_when_it_begins() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.start(1);
    world.start(2);
    world.wait(SECOND * 2);
    world.input(Input::StandBy);
    world.told.clear();
    world.start(3);
    world.wait(SECOND * 2);
    assert_eq!(world.told, []);
    world.input(Input::Activate);
    world.wait(SECOND);
    let agents = |told: &Told| matches!(told, Told::Tenant(_, TenantSignal::Agents { .. }));
    let groups = |told: &Told| matches!(told, Told::Tenant(_, TenantSignal::Group { .. }));
    assert!(world.told.iter().any(agents) && world.told.iter().any(groups));
    world.wait(SECOND);
    assert_eq!(places(&mut world), [(2, 1, None), (3, 2, None)]);
}
