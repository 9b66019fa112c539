//! Postgres, admin-api and the router are away: chats go on, and new ones are served when the router is back.

use std::time::{Duration, Instant};

use bus_schema::state::ThreadStatus;
use ops::{client::Visitor, dev::guard::Signal, testing::wait_for};

use crate::{
    long, procs,
    staff::Admin,
    verify,
    world::{Shape, World},
};

const READY_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn chats_go_on_without_postgres_router_and_admin_api() {
    let _turn = crate::turn().await;
    let away = Duration::from_secs(if long() { 60 } else { 15 });
    let world = World::up(Shape::default(), &[]).await;
    let admin = Admin::login(&world).await;
    let agent = admin.agent(&world, "steady", 20).await;
    agent.ready(READY_WITHIN).await.unwrap();
    let old = world.visitor(0).await;
    old.client.ready(READY_WITHIN).await.unwrap();
    let conversation = old.conversation.unwrap();
    assigned(&old).await;

    // Nobody starts them again before `ops up` goes on.
    let pids = world.pids();
    let up = world.up_pid();
    procs::signal(up, Signal::STOP);
    for name in ["router", "admin-api"] {
        pids[name].iter().for_each(|pid| procs::signal(*pid, Signal::KILL));
    }
    let postgres = pids["postgres"][0];
    let stopped: Vec<u32> = std::iter::once(postgres).chain(procs::children(postgres)).collect();
    stopped.iter().for_each(|pid| _ = procs::try_signal(*pid, Signal::STOP));

    let (began, mut slowest, mut said) = (Instant::now(), Duration::ZERO, 0);
    let new = world.visitor(1).await;
    new.client.ready(READY_WITHIN).await.unwrap();
    while began.elapsed() < away {
        let asked = Instant::now();
        for (client, text) in [(&old.client, "still here?"), (&agent, "still here.")] {
            client.send_text(conversation, text).unwrap().done().await.unwrap();
        }
        let end =
            agent.view(conversation).unwrap().last_seq.max(old.client.view(conversation).unwrap().last_seq);
        wait_for(Duration::from_secs(5), "both sides to see it", async || {
            [&old.client, &agent].iter().all(|side| side.view(conversation).unwrap().last_seq >= end)
        })
        .await;
        (slowest, said) = (slowest.max(asked.elapsed()), said + 2);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{said} messages while they were away; the slowest pair took {slowest:?}");
    let waiting = new.client.thread(new.conversation.unwrap()).unwrap();
    assert_eq!(waiting.status, ThreadStatus::Queued, "nobody routes meanwhile");

    stopped.iter().for_each(|pid| _ = procs::try_signal(*pid, Signal::CONT));
    procs::signal(up, Signal::CONT);
    assigned(&new).await;
    world.all_ready().await;
    world.persisted().await;
    let log = world.log().await;
    verify::log_holds(&world, &log).await;
    for client in [&old.client, &new.client, &agent] {
        assert_eq!(client.counts().disconnects, 0, "nobody was disconnected");
    }
}

async fn assigned(visitor: &Visitor) {
    let conversation = visitor.conversation.unwrap();
    wait_for(READY_WITHIN, "an agent to be assigned", async || {
        visitor.client.thread(conversation).is_some_and(|thread| thread.status == ThreadStatus::Active)
    })
    .await;
}
