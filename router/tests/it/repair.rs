//! What goes wrong beside the router, and how it is put right.

use std::time::Duration;

use bus_schema::{
    Author, Body, Event, EventId, ThreadId, Visibility,
    event::AgentLoad,
    state::{Held, Strategy},
};
use ops::{
    log::{Expect, Write},
    testing::wait_for,
};
use router::service::Turns;
use uuid::Uuid;

use crate::kit::*;

/// Two sweeps, ten seconds apart.
const SWEPT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_a_sweep_puts_right_is_counted() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    let ops = free_port();
    let mut router = kit.process(ops);
    router.ready(SOON).await;
    kit.come(agent(1)).await;
    let mended = || mended(ops);
    wait_for(SOON, "the count to be shown", mended).await;
    assert_eq!(mended().await, Some(0));
    // As nobody ever should: the agent holds what does not exist, and is full with it.
    let last = kit.log.last(&agent_subject(agent(1))).await.unwrap().unwrap();
    let mut state = kit.agent(agent(1)).await.unwrap();
    state.conversations.push(Held {
        conversation_id: conversation(77),
        thread_id: ThreadId::from_uuid(Uuid::from_u128(77)),
        since: last.at,
        group_id: None,
        given_away: false,
    });
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
    let write = Write::new(agent_subject(agent(1)), event.encode()).expect(Expect::LastOnSubject(last.seq));
    kit.log.publish(write).await.unwrap();
    kit.start(1).await;
    wait_for(SWEPT, "the slot to be free again", async || kit.life(1).await.assignee_id == Some(agent(1)))
        .await;
    wait_for(SOON, "it to be counted", async || mended().await == Some(1)).await;
    kit.check().await;
}

#[tokio::test]
async fn who_comes_back_within_the_grace_time_keeps_theirs_and_who_stays_away_does_not() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1, 2]).await;
    let _router = kit.router(Turns::Lease).await;
    for n in 1..=2 {
        kit.come(agent(n)).await;
        kit.start(n).await;
        assert_eq!(kit.assigned(n).await, agent(n));
    }
    kit.connections(agent(1), 0).await;
    kit.connections(agent(2), 0).await;
    kit.connections(agent(1), 1).await;
    kit.come(agent(3)).await;
    wait_for(SOON, "the second to be reassigned", async || kit.life(2).await.assignee_id == Some(agent(3)))
        .await;
    assert_eq!(kit.life(1).await.assignee_id, Some(agent(1)));
    assert_eq!(kit.agent(agent(2)).await.unwrap().load(), 0);
    kit.check().await;
}
