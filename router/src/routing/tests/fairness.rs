//! Whom strategies pick, over random worlds.

use bus_schema::state::{AgentStatus, RoutingStatus, Strategy};
use proptest::{prelude::*, strategy::Strategy as Random};

use super::world::*;

/// Agents that come, go, accept and stop; each step is one of those or a start.
#[derive(Debug, Clone)]
enum Step {
    Start,
    Close(u128),
    Status(u128, bool),
    Connected(u128, bool),
}

fn steps(agents: u128) -> impl Random<Value = Vec<Step>> {
    let one = prop_oneof![
        5 => Just(Step::Start),
        3 => (1_u128..60).prop_map(Step::Close),
        1 => (1..=agents, any::<bool>()).prop_map(|(n, on)| Step::Status(n, on)),
        1 => (1..=agents, any::<bool>()).prop_map(|(n, on)| Step::Connected(n, on)),
    ];
    prop::collection::vec(one, 1..80)
}

/// Plays the steps, and looks at who is given each start.
fn play(strategy: Strategy, capacities: &[u32], steps: &[Step], mut picked: impl FnMut(&World, u128)) {
    let mut world = World::with_group(strategy, capacities);
    let (mut started, mut rev) = (0, 10);
    for step in steps {
        match step {
            Step::Start => {
                started += 1;
                // A visitor of before comes back now and then.
                let n = 1 + (started * 7) % 40;
                let life = world.bus.life(conversation(n));
                if life.is_none_or(|life| !life.status.is_open()) {
                    world.start(n);
                    picked(&world, n);
                }
            }
            Step::Close(n) => drop(world.close(*n, supervisor())),
            Step::Status(n, on) => {
                let status = if *on { RoutingStatus::Accepting } else { RoutingStatus::NotAccepting };
                world.set_status(agent(*n), status);
            }
            Step::Connected(n, on) => {
                rev += 1;
                world.report(agent(*n), edge(1), rev, u32::from(*on));
            }
        }
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn round_robin_spreads_within_one_among_equals(agents in 1_usize..12, starts in 1_u128..60) {
        let mut world = World::with_group(Strategy::RoundRobin, &vec![100; agents]);
        for n in 1..=starts {
            world.start(n);
        }
        let loads: Vec<u32> = (1..=agents as u128).map(|n| world.load(agent(n))).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    }

    #[test]
    fn least_loaded_always_picks_a_minimum(
        capacities in prop::collection::vec(1_u32..6, 1..6),
        steps in steps(5),
    ) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| within(step, capacities.len())).collect();
        play(Strategy::LeastLoaded, &capacities, &steps, |world, n| {
            let Some(chosen) = world.assignee(n) else { return };
            // Before this one.
            let share = |id, less: u32| {
                let state = world.state(id);
                f64::from(state.load() - less) / f64::from(state.capacity)
            };
            for other in (1..=capacities.len() as u128).map(agent).filter(|other| *other != chosen) {
                let state = world.state(other);
                if state.seen_status() == AgentStatus::Accepting && state.has_room() {
                    assert!(share(chosen, 1) <= share(other, 0) + 1e-9, "{chosen} was fuller than {other}");
                }
            }
        });
    }

    #[test]
    fn sticky_never_picks_one_who_is_away_or_full(
        capacities in prop::collection::vec(1_u32..4, 1..5),
        steps in steps(4),
    ) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| within(step, capacities.len())).collect();
        play(Strategy::Sticky, &capacities, &steps, |world, n| {
            if let Some(chosen) = world.assignee(n) {
                let state = world.state(chosen);
                assert_eq!(state.seen_status(), AgentStatus::Accepting);
                assert!(state.load() <= state.capacity);
            }
        });
    }
}

fn within(step: &Step, agents: usize) -> bool {
    match step {
        Step::Status(n, _) | Step::Connected(n, _) => *n <= agents as u128,
        Step::Start | Step::Close(_) => true,
    }
}
