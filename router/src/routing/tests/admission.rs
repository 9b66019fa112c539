//! Which starts are let in.

use bus_schema::{
    ErrorCode,
    command::{Actor, Answer, Command, Outcome},
    state::Strategy,
};

use super::super::Settings;
use super::world::*;

fn admit(world: &mut World, group_n: u128) -> Outcome {
    let (conversation_id, group_id) = (conversation(99), Some(group(group_n)));
    world.command(Actor::SYSTEM, Command::Admit { conversation_id, group_id, widget_id: None })
}

fn admitted(group_n: u128) -> Outcome {
    Outcome::Accepted { answer: Answer::Admitted { group_id: Some(group(group_n)) } }
}

#[test]
fn an_unknown_group_is_not_admitted() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    assert_eq!(code(&admit(&mut world, 9)), Some(ErrorCode::NotFound));
}

#[test]
fn a_tenant_has_so_many_open_threads_over_all_its_groups_and_starts_more_once_some_are_closed() {
    let mut world = World::new();
    world.restart_with(Settings { open_max: Some(3), ..settings(1) });
    world.configure_agent(agent(1), 1);
    world.configure_group(1, Strategy::LeastLoaded, &[agent(1)]);
    world.configure_group(2, Strategy::Manual, &[]);
    world.lease(edge(1), true);
    world.connect(agent(1), edge(1), 1);
    world.accept(agent(1));
    world.start(1);
    world.start(2);
    assert_eq!(admit(&mut world, 2), admitted(2));
    world.start_in(3, Some(group(2)));
    // One somebody has, and two that wait, in different groups.
    for n in [1, 2] {
        let Outcome::Rejected { error } = admit(&mut world, n) else { panic!("three are open") };
        assert_eq!((error.code, error.retryable), (ErrorCode::RateLimited, true));
        assert!(error.after_ms > 0, "it says when to come again");
    }
    assert_eq!(world.routing.counters().over_budget, 2);
    // One that started unasked stays, and an open one is no start.
    world.start(4);
    assert_eq!(world.closed(4), None);
    world.close(1, supervisor());
    assert_eq!(code(&admit(&mut world, 1)), Some(ErrorCode::RateLimited));
    world.close(2, supervisor());
    assert_eq!(admit(&mut world, 1), admitted(1));
    world.check();
}

#[test]
fn without_a_budget_as_many_are_open_as_start() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    for n in 1..=200 {
        world.start(n);
    }
    assert_eq!(admit(&mut world, 1), admitted(1));
}
