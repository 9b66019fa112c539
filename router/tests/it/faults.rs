//! A network that fails between router and bus: outcomes are unknown for a while, never guessed.

use std::time::Duration;

use bus_schema::state::Strategy;
use ops::testing::{Direction, Fault, FaultProxy, wait_for};
use router::service::Turns;

use crate::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_outcomes_are_looked_up_and_nothing_happens_twice() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[40, 40]).await;
    let proxy = FaultProxy::start(kit.server.address(), 7).await.unwrap();
    let url = format!("nats://{}", proxy.address());
    let _router = kit.router_at(url, Turns::Together, "behind a proxy").await;
    kit.come(agent(1)).await;
    kit.come(agent(2)).await;
    for round in 0..8_u128 {
        // Answers are lost at an arbitrary byte; what was asked for may or may not have happened.
        let bytes = 500 + 700 * u64::try_from(round).unwrap();
        proxy.inject(Fault::CutAfter { direction: Direction::ToClient, bytes });
        for n in 1..=5 {
            kit.start(round * 5 + n).await;
        }
        wait_for(SOON, "the connection to be cut", async || {
            let cut = proxy.accepted() > 1;
            cut.then_some(())
        })
        .await;
        proxy.heal();
    }
    for n in 1..=40 {
        kit.assigned(n).await;
    }
    let report = kit.check().await;
    assert_eq!((report.open_threads, report.copies), (40, 0));
}

#[tokio::test]
async fn a_bus_that_is_killed_and_comes_back_loses_nothing_and_logs_nobody_out() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[9]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.assigned(1).await;
    kit.server.kill();
    kit.server.restart().await;
    wait_for(SOON, "a start to be stored again", async || kit.log.end().await.map(|_| ())).await;
    kit.start(2).await;
    kit.assigned(2).await;
    let state = kit.agent(agent(1)).await.unwrap();
    assert!(state.is_connected());
    assert_eq!(state.load(), 2);
    kit.check().await;
}

#[tokio::test]
async fn a_paused_router_that_wakes_up_is_refused_what_others_did_meanwhile() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[3]).await;
    let proxy = FaultProxy::start(kit.server.address(), 7).await.unwrap();
    let url = format!("nats://{}", proxy.address());
    let _sleeper = kit.router_at(url, Turns::Together, "sleeper").await;
    kit.come(agent(1)).await;
    // From here on it hears and says nothing, while another does the work.
    proxy.inject(Fault::BlackHole);
    let _other = kit.router(Turns::Together).await;
    for n in 1..=6 {
        kit.start(n).await;
    }
    for n in 1..=3 {
        kit.assigned(n).await;
    }
    proxy.heal();
    wait_for(Duration::from_secs(60), "all commands to be answered again", async || kit.close(1).await).await;
    kit.assigned(4).await;
    kit.check().await;
}
