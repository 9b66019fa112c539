//! Several routers: at most one is right, and nobody is stuck when one goes.

use std::{net::SocketAddr, time::Duration};

use bus_schema::state::{Strategy, ThreadStatus};
use ops::testing::wait_for;
use router::service::Turns;

use crate::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_active_routers_racing_five_hundred_starts_break_nothing() {
    let mut closed = 0;
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[7; 20]).await;
    let _one = kit.router(Turns::Together).await;
    let _two = kit.router(Turns::Together).await;
    for n in 1..=20 {
        kit.come(agent(n)).await;
    }
    let starts = futures::future::join_all((1..=500).map(|n| kit.start(n)));
    starts.await;
    let full = async || {
        let mut held = 0;
        for n in 1..=20 {
            held += kit.agent(agent(n)).await.map_or(0, |state| state.load());
        }
        held == 140
    };
    wait_for(SOON, "everyone to be full", full).await;
    for n in (1..=500).step_by(3) {
        if kit.life(n).await.assignee_id.is_some() {
            kit.close(n).await.unwrap();
            closed += 1;
        }
    }
    wait_for(SOON, "everyone to be full again", full).await;
    wait_for(SOON, "everyone else to be told that they wait", async || {
        for n in 1..=500 {
            let life = kit.life(n).await;
            if life.status == ThreadStatus::Queued && life.started_seq.is_none() {
                return false;
            }
        }
        true
    })
    .await;
    let report = kit.check().await;
    assert_eq!(report.open_threads, 500 - closed);
}

#[tokio::test]
async fn one_stands_by_until_the_other_goes() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[9]).await;
    let one = kit.router_at(kit.server.url(), Turns::Lease, "one").await;
    kit.come(agent(1)).await;
    let _two = kit.router_at(kit.server.url(), Turns::Lease, "two").await;
    kit.start(1).await;
    kit.assigned(1).await;
    one.stop().await;
    kit.start(2).await;
    kit.assigned(2).await;
    kit.close(1).await.unwrap();
    kit.check().await;
}

#[tokio::test]
async fn a_killed_router_goes_on_where_the_log_ends() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[10]).await;
    let ops: SocketAddr = free_port();
    let mut router = kit.process(ops);
    router.ready(SOON).await;
    kit.come(agent(1)).await;
    for n in 1..=5 {
        kit.start(n).await;
    }
    kit.assigned(1).await;
    router.kill();
    for n in 6..=12 {
        kit.start(n).await;
    }
    router.restart().unwrap();
    for n in 1..=10 {
        kit.assigned(n).await;
    }
    kit.close(1).await.unwrap();
    kit.assigned(11).await;
    router.kill();
    kit.start(13).await;
    router.restart().unwrap();
    kit.close(2).await.unwrap();
    kit.assigned(12).await;
    wait_for(SOON, "the last to be told that it waits", async || kit.life(13).await.started_seq.is_some())
        .await;
    kit.check().await;
    router.terminate();
    assert_eq!(router.exit_code(Duration::from_secs(15)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_active_routers_without_a_lease_serve_the_longest_waiting_first() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::RoundRobin, &[3; 8]).await;
    let mut routers = Vec::new();
    for _ in 0..3 {
        routers.push(kit.router(Turns::Together).await);
    }
    for n in 1..=120 {
        kit.start(n).await;
    }
    for n in 1..=8 {
        kit.come(agent(n)).await;
    }
    kit.assigned(24).await;
    // Slots come free while all three look at the same queue; one of them goes and another comes meanwhile.
    for n in 1..=96 {
        kit.assigned(n).await;
        kit.close(n).await.unwrap();
        if n == 40 {
            routers.remove(0).stop().await;
            routers.push(kit.router(Turns::Together).await);
        }
    }
    for n in 97..=120 {
        kit.assigned(n).await;
    }
    let report = kit.check().await;
    assert_eq!(report.open_threads, 24);
}
