//! Many do the same thing at once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bus_schema::{
    Body, ClientId, ConversationId, ErrorCode, ThreadId,
    protocol::{SendBody, StartThread, WidgetSession},
    state::ThreadStatus,
};
use ops::{
    client::{Client, Http, RequestError, Visitor, message_json},
    testing::wait_for,
};
use tokio::task::JoinSet;

use crate::{
    long,
    staff::Admin,
    verify,
    world::{Shape, World},
};

/// A close takes milliseconds; a visitor who could say so much was not closed.
const SENDS_MAX: usize = 5_000;
/// Simultaneous sessions of one visitor.
const SESSIONS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn one_thread_though_each_visitor_starts_twenty_times_at_once() {
    let visitors = 100;
    let world =
        Arc::new(World::up(Shape::default(), &[("CHATBUS_LIMIT_CONNECTIONS_PER_VISITOR", "0")]).await);
    let edges = world.edge_urls();
    let mut conversations = BTreeSet::new();
    let mut threads = BTreeSet::new();
    for _ in 0..visitors {
        let session =
            WidgetSession { initial_client_id: Some(ClientId::new("first").unwrap()), ..world.session() };
        let mut racing = JoinSet::new();
        for n in 0..SESSIONS {
            racing.spawn(start(edges.clone(), n, session.clone()));
        }
        let started: BTreeSet<(ConversationId, ThreadId)> = racing.join_all().await.into_iter().collect();
        assert_eq!(started.len(), 1, "one visitor, one conversation, one thread: {started:?}");
        conversations.extend(started.iter().map(|(conversation, _)| *conversation));
        threads.extend(started.iter().map(|(_, thread)| *thread));
    }
    assert_eq!((conversations.len(), threads.len()), (visitors, visitors));

    let log = world.log().await;
    verify::log_holds(&world, &log).await;
    let starts = log.iter().filter(|logged| matches!(logged.event.body, Body::Started(_))).count();
    assert_eq!(starts, visitors);
    let mut firsts = BTreeSet::new();
    for logged in log.iter().filter(|logged| matches!(logged.event.body, Body::Message(_))) {
        assert!(firsts.insert(logged.event.conversation_id), "the first message is there twice: {logged:?}");
    }
    assert_eq!(firsts.len(), visitors);
}

/// A session with a first message, and then `start_thread` with the same on its socket.
async fn start(edges: Vec<String>, n: usize, session: WidgetSession) -> (ConversationId, ThreadId) {
    let http = Http::new().unwrap();
    let visitor = Visitor::open(&http, &edges, n, &session, |options| options.pushes = 0).await.unwrap();
    visitor.client.ready(Duration::from_secs(30)).await.unwrap();
    let data = serde_json::value::to_raw_value(&serde_json::json!({"text": "Hello!"})).unwrap();
    let initial_event = SendBody {
        kind: "message".to_owned(),
        client_id: ClientId::new("first").unwrap(),
        visibility: bus_schema::Visibility::All,
        data,
    };
    let ask = StartThread { initial_event: Some(initial_event), ..StartThread::default() };
    let conv = visitor.client.start_thread(&ask).await.unwrap();
    let thread = conv.thread.unwrap();
    assert!(thread.status.is_open());
    (conv.id, thread.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_is_closed_while_closes_race_sends() {
    closes_race_sends(Shape::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_is_closed_while_closes_race_sends_on_a_cluster() {
    if !long() {
        println!("runs in the long profile: sh ops/test.sh --long");
        return;
    }
    closes_race_sends(Shape { nats_replicas: 3, ..Shape::default() }).await;
}

async fn closes_race_sends(shape: Shape) {
    let closes = 500;
    let unlimited = ["EVENTS_PER_SECOND", "EVENTS_BURST", "REQUESTS_IN_FLIGHT"]
        .map(|name| format!("CHATBUS_LIMIT_{name}"));
    let env: Vec<(&str, &str)> = unlimited.iter().map(|name| (name.as_str(), "0")).collect();
    let world = World::up(shape, &env).await;
    let admin = Admin::login(&world).await;
    let agent = Arc::new(admin.agent(&world, "closer", 100).await);
    agent.ready(Duration::from_secs(30)).await.unwrap();
    let (mut refused, mut stored) = (0, 0);
    for batch in 0..closes / 20 {
        let racing = (0..20).map(|n| close_while_sending(&world, batch * 20 + n, agent.clone()));
        for (more_stored, more_refused) in futures::future::join_all(racing).await {
            stored += more_stored;
            refused += more_refused;
        }
    }
    let log = world.log().await;
    verify::log_holds(&world, &log).await;
    let closed = log.iter().filter(|logged| matches!(logged.event.body, Body::Closed(_))).count();
    println!("{closed} closes, {stored} sends stored, {refused} told thread_closed");
    assert_eq!(closed, closes);
    assert!(refused > 0, "no send raced a close: the test shows nothing");
}

/// One visitor sends until told that the thread is closed, which the agent does meanwhile.
async fn close_while_sending(world: &World, n: usize, agent: Arc<Client>) -> (usize, usize) {
    let visitor = world.visitor(n).await;
    let conversation = visitor.conversation.unwrap();
    visitor.client.ready(Duration::from_secs(30)).await.unwrap();
    wait_for(Duration::from_secs(30), "the agent to have it", async || {
        agent.view(conversation).is_some_and(|view| view.mine)
            && visitor.client.thread(conversation).is_some_and(|thread| thread.status == ThreadStatus::Active)
    })
    .await;
    let close = tokio::spawn(async move { agent.close_thread(conversation).await });
    let (mut stored, mut refused) = (0, 0);
    while refused == 0 {
        assert!(stored < SENDS_MAX, "the close did not come: {:?}", close.await);
        let client_id = ops::client::new_client_id();
        let event = message_json(&client_id, "and one more thing", bus_schema::Visibility::All);
        match visitor.client.send_json(conversation, None, client_id, event).unwrap().done().await {
            Ok(_) => stored += 1,
            Err(RequestError::Refused(error)) => {
                assert_eq!(error.code, ErrorCode::ThreadClosed, "{error}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    close.await.unwrap().unwrap();
    (stored, refused)
}
