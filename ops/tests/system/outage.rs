//! Postgres, admin-api and the router are away: chats go on, and new ones are served when the router is back.

use std::time::{Duration, Instant};

use bus_schema::{
    Audience, ConversationId,
    protocol::{Action, Done, ListEvents, Mark},
    state::ThreadStatus,
};
use ops::{
    client::{Client, Visitor, new_client_id},
    dev::guard::Signal,
    testing::wait_for,
};
use serde_json::json;

use crate::{
    long, procs,
    staff::Admin,
    verify,
    world::{Shape, World},
};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// A message each way, seen by both, where other work may have the cores.
const SLOWEST_MAX: Duration = Duration::from_secs(2);

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
    assert!(slowest < SLOWEST_MAX, "a message and its answer took {slowest:?}");
    all_else_goes_on(&old.client, &agent, conversation).await;
    let waiting = new.client.thread(new.conversation.unwrap()).unwrap();
    assert_eq!(waiting.status, ThreadStatus::Queued, "nobody routes meanwhile");

    stopped.iter().for_each(|pid| _ = procs::try_signal(*pid, Signal::CONT));
    procs::signal(up, Signal::CONT);
    assigned(&new).await;
    world.all_ready().await;
    world.persisted().await;
    let log = world.log().await;
    verify::log_holds(&world, &log).await;
    verify::sees_the_log(&old.client, conversation, Audience::All, &log).await;
    verify::sees_the_log(&agent, conversation, Audience::Staff, &log).await;
    for (client, cut) in [(&old.client, 1), (&new.client, 0), (&agent, 0)] {
        let counts = client.counts();
        assert_eq!((counts.disconnects, counts.resets, counts.replaced), (cut, 0, 0), "{counts:?}");
    }
}

/// Notes, edits, marks, pages of the thread and resuming need none of them either.
async fn all_else_goes_on(visitor: &Client, agent: &Client, conversation: ConversationId) {
    agent.send_note(conversation, "Postgres is away").unwrap().done().await.unwrap();
    let said = visitor.send_text(conversation, "Helo?").unwrap().done().await.unwrap();
    let client_id = new_client_id();
    let edit = json!({
        "kind": "message_edited", "client_id": client_id,
        "data": { "target_id": said.event_id, "text": "Hello?" },
    });
    let edit = visitor.send_json(conversation, None, client_id, edit.to_string().into()).unwrap();
    let edited = edit.done().await.unwrap();
    let mark = Mark { conversation_id: conversation, up_to_seq: edited.seq };
    let _done: Done = agent.request(Action::MarkRead, &mark).await.unwrap();
    let ask = ListEvents {
        before_seq: Some(edited.seq),
        limit: Some(2),
        conversation_id: conversation,
        after_seq: None,
    };
    let page = agent.list_events(&ask).await.unwrap();
    assert_eq!(page.events.len(), 2);

    let before = visitor.state().borrow().logins;
    visitor.cut();
    agent.send_text(conversation, "Are you there?").unwrap().done().await.unwrap();
    wait_for(READY_WITHIN, "the visitor to resume", async || visitor.state().borrow().logins > before).await;
    visitor.ready(READY_WITHIN).await.unwrap();
}

async fn assigned(visitor: &Visitor) {
    let conversation = visitor.conversation.unwrap();
    wait_for(READY_WITHIN, "an agent to be assigned", async || {
        visitor.client.thread(conversation).is_some_and(|thread| thread.status == ThreadStatus::Active)
    })
    .await;
}
