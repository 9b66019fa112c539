//! What a sweep puts right, and that it looks twice.

use std::time::Duration;

use bus_schema::{
    Author, Body, Event, EventId, Shard, Subject, Visibility,
    claims::Role,
    command::Actor,
    event::AgentLoad,
    state::{AgentState, DecisionRule, QueueReason, Strategy, ThreadStatus},
};
use uuid::Uuid;

use super::super::settings::SWEEP_EVERY;
use super::world::*;

const TICK: Duration = Duration::from_millis(250);

/// An agent's state, as nobody should ever write it.
fn overwrite(world: &mut World, state: AgentState) {
    let subject = Subject::Agent { shard: Shard(0), tenant: TENANT, agent: state.agent_id };
    let event = Event {
        id: EventId::from_uuid(Uuid::from_u128(0xBAD)),
        cause: None,
        tenant_id: TENANT,
        conversation_id: None,
        thread_id: None,
        author: Author::SYSTEM,
        client_id: None,
        visibility: Visibility::All,
        body: Body::AgentLoad(AgentLoad { state }),
    };
    world.bus.store(subject, event, world.now);
    world.settle();
}

#[test]
fn a_thread_whose_assignee_does_not_hold_it_waits_again() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1, 1]);
    world.start(1);
    world.join(1, Actor::agent(agent(2), Role::Agent));
    let started = world.life(1).started_at;
    assert_eq!(world.assignee(1), Some(agent(1)));
    let mut state = world.state(agent(1)).clone();
    state.conversations.clear();
    overwrite(&mut world, state);
    world.stop_accepting(agent(1));
    world.stop_accepting(agent(2));
    world.wait(SWEEP_EVERY - TICK);
    assert_eq!(world.routing.counters().mended, 0, "one look may see half of a change");
    assert_eq!(world.life(1).status, ThreadStatus::Active);
    world.wait(SWEEP_EVERY + 2 * TICK);
    assert_eq!(world.routing.counters().mended, 1);
    assert_eq!((world.life(1).status, world.assignee(1)), (ThreadStatus::Queued, None));
    assert_eq!(world.life(1).participants, [agent(2)], "who has lost it does not take part");
    let decision = world.decision(1);
    assert_eq!((decision.rule, decision.chosen), (DecisionRule::AgentLost, None));
    assert_eq!(decision.waiting_since, Some(started));
    let entry = world.desk(1).queue.clone().unwrap();
    assert_eq!((entry.since, entry.reason), (started, QueueReason::AgentLost), "it keeps its place");
    world.accept(agent(2));
    assert_eq!(world.assignee(1), Some(agent(2)));
    world.wait(SWEEP_EVERY * 3);
    assert_eq!(world.routing.counters().mended, 1);
    world.check();
}

#[test]
fn a_queue_that_nobody_looked_at_is_looked_at() {
    let mut world = World::with_group(Strategy::LeastLoaded, &[1]);
    world.stop_accepting(agent(1));
    world.start(1);
    // The agent comes while the core has lost sight of who waits.
    let queue = Some(group(1));
    let waiting = std::mem::take(&mut world.queue(queue).waiting);
    world.accept(agent(1));
    world.queue(queue).waiting = waiting;
    world.wait(SWEEP_EVERY - TICK);
    assert_eq!((world.routing.counters().mended, world.assignee(1)), (0, None));
    world.wait(SWEEP_EVERY + 2 * TICK);
    assert_eq!((world.routing.counters().mended, world.assignee(1)), (1, Some(agent(1))));
    world.wait(SWEEP_EVERY * 3);
    assert_eq!(world.routing.counters().mended, 1);
    world.check();
}
