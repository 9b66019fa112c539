//! Whom strategies pick, over random worlds.

use std::{cell::Cell, collections::BTreeMap};

use bus_schema::{
    AgentId, Body,
    state::{AgentStatus, DecisionRule, RoutingStatus, Strategy},
};
use proptest::{prelude::*, strategy::Strategy as Random, test_runner::TestRunner};

use super::super::settings::CONVERSATIONS_PER_BATCH;
use super::world::*;

/// Agents that come, go, accept and stop; each step is one of those or a start.
#[derive(Debug, Clone)]
enum Step {
    Start,
    Close(u128),
    Status(u128, bool),
    Connected(u128, bool),
}

/// Many, so that there is room for no more; few, so that each comes back.
const MANY: u128 = 40;
const FEW: u128 = 5;

fn steps(agents: u128, visitors: u128) -> impl Random<Value = Vec<Step>> {
    let one = prop_oneof![
        5 => Just(Step::Start),
        3 => (1..=visitors).prop_map(Step::Close),
        1 => (1..=agents, prop::bool::weighted(0.7)).prop_map(|(n, on)| Step::Status(n, on)),
        1 => (1..=agents, prop::bool::weighted(0.7)).prop_map(|(n, on)| Step::Connected(n, on)),
    ];
    prop::collection::vec(one, 1..80)
}

/// Plays the steps, and looks at who is given each start, and at the world after every step.
fn play(
    (strategy, visitors): (Strategy, u128),
    capacities: &[u32],
    steps: &[Step],
    mut seen: impl FnMut(&World, Option<u128>),
) {
    let mut world = World::with_group(strategy, capacities);
    let (mut started, mut rev) = (0, 10);
    for step in steps {
        let mut start = None;
        match step {
            Step::Start => {
                started += 1;
                let n = 1 + (started * 7) % visitors;
                let life = world.bus.life(conversation(n));
                if life.is_none_or(|life| !life.status.is_open()) {
                    world.start(n);
                    start = Some(n);
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
        seen(&world, start);
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
        steps in steps(5, MANY),
    ) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| within(step, capacities.len())).collect();
        play((Strategy::LeastLoaded, MANY), &capacities, &steps, |world, start| {
            let Some(chosen) = start.and_then(|n| world.assignee(n)) else { return };
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
    fn least_loaded_picks_a_minimum_for_each_of_many_at_once(
        capacities in prop::collection::vec(1_u32..8, 2..6),
        (before, waiting) in (0_u128..8, 2_u128..30),
    ) {
        let mut world = World::with_group(Strategy::LeastLoaded, &capacities);
        let agents: Vec<AgentId> = (1..=capacities.len() as u128).map(agent).collect();
        world.configure_group(2, Strategy::RoundRobin, &agents);
        for n in 1..=before {
            world.start_in(n, Some(group(2)));
        }
        world.configure_group(1, Strategy::LeastLoaded, &[]);
        for n in before + 1..=before + waiting {
            world.start(n);
        }
        let mut loads: BTreeMap<AgentId, u32> = agents.iter().map(|id| (*id, world.load(*id))).collect();
        let capacity = |id: &AgentId| world.state(*id).capacity;
        let capacities: BTreeMap<AgentId, u32> = agents.iter().map(|id| (*id, capacity(id))).collect();
        let room: u32 = agents.iter().map(|id| capacities[id] - loads[id]).sum();
        let from = world.bus.log.len();
        // Now all of them serve it, and all who wait are looked at together.
        world.configure_group(1, Strategy::LeastLoaded, &agents);
        let after: Vec<&Body> =
            world.bus.log[from..].iter().filter_map(|stored| Some(&stored.event.as_ref()?.body)).collect();
        let mut given = 0;
        for body in &after {
            let Body::Decided(decided) = body else { continue };
            let Some(chosen) = decided.decision.chosen else { continue };
            let share = |id: &AgentId| f64::from(loads[id]) / f64::from(capacities[id]);
            let free = agents.iter().filter(|id| loads[id] < capacities[id]);
            let least = free.map(share).fold(f64::INFINITY, f64::min);
            prop_assert!(share(&chosen) <= least + 1e-9, "{chosen} has {loads:?} of {capacities:?}");
            *loads.entry(chosen).or_default() += 1;
            given += 1;
        }
        prop_assert_eq!(given, room.min(u32::try_from(waiting).unwrap()));
        let written = after.iter().filter(|body| matches!(body, Body::AgentLoad(_))).count();
        let batches = (given as usize).div_ceil(CONVERSATIONS_PER_BATCH);
        prop_assert!(written <= batches * agents.len(), "in one batch each agent is written once");
        for (id, load) in &loads {
            prop_assert_eq!(world.load(*id), *load);
        }
        world.check();
    }
}

#[test]
fn sticky_picks_who_had_the_visitor_and_never_one_who_is_away_or_full() {
    let (came_back, elsewhere) = (Cell::new(0), Cell::new(0));
    let worlds = (prop::collection::vec(1_u32..4, 1..5), steps(4, FEW));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let ran = runner.run(&worlds, |(capacities, steps)| {
        let steps: Vec<Step> = steps.into_iter().filter(|step| within(step, capacities.len())).collect();
        let mut had: BTreeMap<u128, AgentId> = BTreeMap::new();
        play((Strategy::Sticky, FEW), &capacities, &steps, |world, start| {
            if let Some((n, chosen)) = start.and_then(|n| Some((n, world.assignee(n)?))) {
                let state = world.state(chosen);
                assert_eq!(state.seen_status(), AgentStatus::Accepting);
                assert!(state.load() <= state.capacity);
                let again = had.get(&n) == Some(&chosen);
                assert_eq!(world.decision(n).rule == DecisionRule::Sticky, again, "{n} had {had:?}");
                came_back.set(came_back.get() + u32::from(again));
            }
            if let Some((n, before)) = start.and_then(|n| Some((n, *had.get(&n)?)))
                && world.assignee(n) != Some(before)
            {
                let state = world.state(before);
                let able = state.seen_status() == AgentStatus::Accepting && state.has_room();
                assert!(!able, "{before} had {n} and was passed over");
                elsewhere.set(elsewhere.get() + 1);
            }
            had.extend((1..=FEW).filter_map(|n| {
                let life = world.bus.life(conversation(n))?;
                Some((n, life.assignee_id?))
            }));
        });
        Ok(())
    });
    ran.unwrap();
    let counts = (came_back.get(), elsewhere.get());
    assert!(counts.0 >= 120 && counts.1 >= 100, "too few came back: {counts:?}");
}

fn within(step: &Step, agents: usize) -> bool {
    match step {
        Step::Status(n, _) | Step::Connected(n, _) => *n <= agents as u128,
        Step::Start | Step::Close(_) => true,
    }
}
