//! An edge dies with all its agents: what they had goes on with others or waits first, and who is back in time keeps it.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::{
    AgentId, IncarnationId,
    command::{Actor, Answer, Command},
    state::{AgentStatus, QueueReason, RoutingStatus, Strategy, ThreadStatus},
};
use ops::testing::wait_for;
use router::service::Turns;
use uuid::Uuid;

use crate::kit::*;

/// Agents on the edge that dies, those of them who come back in time, and agents elsewhere.
const LOST: u128 = 50;
const BACK: u128 = 10;
const OTHERS: u128 = 10;
const CAPACITY: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_agents_of_a_killed_edge_lose_their_threads_and_who_is_back_in_time_keeps_them() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::RoundRobin, &[CAPACITY; (LOST + OTHERS) as usize]).await;
    let _router = kit.router(Turns::Lease).await;
    for n in 1..=LOST {
        kit.come(agent(n)).await;
    }
    let threads = LOST * u128::from(CAPACITY);
    for n in 1..=threads {
        kit.start(n).await;
    }
    for n in 1..=threads {
        kit.assigned(n).await;
    }
    // The other edge and its agents are there, and so is somebody who waits behind all that is lost.
    let (dead, alive) = (kit.edge, IncarnationId::from_uuid(Uuid::from_u128(0xE001)));
    kit.leases.put(&bus_schema::stream::edge_lease(alive), "{}").await.unwrap();
    kit.start(threads + 1).await;
    wait_for(SOON, "the last to wait", async || kit.life(threads + 1).await.started_seq.is_some()).await;
    kit.drop_lease().await;
    kit.edge = alive;
    for n in LOST - BACK + 1..=LOST {
        kit.connections(agent(n), 1).await;
    }
    for n in LOST + 1..=LOST + OTHERS {
        kit.come(agent(n)).await;
    }
    let kept: BTreeSet<AgentId> = (LOST - BACK + 1..=LOST).map(agent).collect();
    let gone: BTreeSet<AgentId> = (1..=LOST - BACK).map(agent).collect();
    let moved = (LOST - BACK) * u128::from(CAPACITY);
    wait_for(SOON, "the dead to hold nothing", async || {
        for agent in &gone {
            let state = kit.agent(*agent).await.unwrap();
            if !state.conversations.is_empty() || state.is_connected() {
                return Err(format!("{agent} still has {} conversations", state.load()));
            }
        }
        Ok(())
    })
    .await;
    let others = OTHERS * u128::from(CAPACITY);
    wait_for(SOON, "the others to be full", async || {
        let mut load = 0;
        for n in LOST + 1..=LOST + OTHERS {
            load += u128::from(kit.agent(agent(n)).await.unwrap().load());
        }
        load == others
    })
    .await;
    let (mut with_others, mut waiting, mut kept_threads) = (0, Vec::new(), 0);
    for n in 1..=threads {
        let life = kit.life(n).await;
        match life.assignee_id {
            Some(id) if kept.contains(&id) => kept_threads += 1,
            Some(id) => {
                assert!(!gone.contains(&id), "{n} is with somebody who is gone");
                with_others += 1;
            }
            None => waiting.push((n, life)),
        }
    }
    assert_eq!(kept_threads, BACK * u128::from(CAPACITY), "who came back in time keeps theirs");
    // One of the others' places went to whoever waited before, if the edge was found dead after they came.
    assert!(with_others + 1 >= others && waiting.len() as u128 + with_others == moved);
    let everything = kit.everything().await;
    for (n, life) in &waiting {
        assert_eq!(life.status, ThreadStatus::Queued);
        let of = everything.iter().rev().filter(|l| l.event.conversation_id == Some(conversation(*n)));
        let desk = of.filter_map(|logged| logged.event.body.desk_state()).next().unwrap();
        let entry = desk.queue.as_ref().unwrap();
        assert_eq!((entry.since, entry.reason), (life.started_at, QueueReason::AgentLost), "{n} waits first");
    }
    let Answer::Agents { agents } = kit.ask(Actor::SYSTEM, Command::ListAgents).await.unwrap() else {
        panic!("a list of agents")
    };
    let online = agents.iter().filter(|agent| agent.status != AgentStatus::Offline);
    let online: BTreeSet<AgentId> = online.map(|agent| agent.id).collect();
    let there: BTreeSet<AgentId> = (LOST - BACK + 1..=LOST + OTHERS).map(agent).collect();
    assert_eq!(online, there, "nobody is online without a connection");
    let named = |state: &bus_schema::state::AgentState| state.presence.contains_key(&dead);
    for n in 1..=LOST - BACK {
        assert!(!named(&kit.agent(agent(n)).await.unwrap()));
    }
    let report = kit.check().await;
    assert_eq!(report.open_threads as u128, threads + 1);
    // Who comes later gets chats again, and no sooner.
    kit.connections(agent(1), 1).await;
    wait_for(Duration::from_secs(30), "the first to serve again", async || {
        kit.agent(agent(1)).await.unwrap().load() == CAPACITY
    })
    .await;
    assert_eq!(kit.agent(agent(1)).await.unwrap().status, RoutingStatus::Accepting);
}
