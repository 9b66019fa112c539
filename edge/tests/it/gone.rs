//! Threads whose visitor is gone: what edges and a router find out together.

use std::time::Duration;

use bus_schema::{
    Body, ConversationId, Event, IncarnationId, Lane, Subject,
    config::{GroupRecord, Record, RoutingSettings},
    signal::{TenantSignal, Who},
    state::CloseReason,
    stream,
    subject::{TenantTopic, tenant_signals, who_of_shard},
};
use futures::StreamExt as _;
use ops::{kv::Kv, testing::wait_for};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{client::Client, world::World};

const SOON: Duration = Duration::from_secs(30);

impl World {
    /// Threads of the group end for visitors who are gone so long.
    async fn closes_for_who_is_gone(&self, visitor_gone_s: u32) {
        let routing = RoutingSettings { visitor_gone_s: Some(visitor_gone_s), ..RoutingSettings::default() };
        let group = GroupRecord { routing, revision: 2, ..GroupRecord::new(self.tenant, self.group) };
        self.put(&Record::Group(group)).await;
    }

    async fn closed(&self, conversation: ConversationId) -> Option<CloseReason> {
        let (shard, tenant, lane) = (self.log.shard(), self.tenant, Lane::Life);
        let subject = Subject::Conversation { shard, tenant, conversation, lane }.to_string();
        match Event::decode(&self.log.last(&subject).await.unwrap()?.payload).unwrap().body {
            Body::Closed(closed) => Some(closed.reason),
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_ends_once_every_edge_has_said_that_its_visitor_is_gone_and_not_while_one_is_silent() {
    let world = World::new().await;
    world.closes_for_who_is_gone(1).await;
    let _router = world.routed().await;
    // At the second nobody of this tenant ever was; the third hangs: it holds its lease, and answers nothing.
    let (one, _two) = (world.edge().await, world.edge().await);
    let leases = Kv::open(&world.bus, stream::LEASES).await.unwrap();
    let hung = stream::edge_lease(IncarnationId::from_uuid(Uuid::now_v7()));
    leases.put(&hung, "{}").await.unwrap();
    let mut questions = world.bus.client.subscribe(who_of_shard(world.log.shard())).await.unwrap();
    let more = json!({ "initial_message": "hello", "initial_client_id": "a" });
    let mut clients = Vec::new();
    for key in [1, 2] {
        let session = world.session(&one, [key; 32], more.clone()).await;
        let visitor = session["visitor"]["id"].as_str().unwrap().parse().unwrap();
        let (client, _) = Client::login(one.at, session["token"].as_str().unwrap()).await;
        clients.push((ConversationId::of(world.tenant, visitor), client));
    }
    let (stayed, _client) = clients.pop().unwrap();
    let (left, client) = clients.pop().unwrap();
    drop(client);
    let mut about_who_left = 0;
    while about_who_left < 3 {
        let question = timeout(SOON, questions.next()).await.expect("the edges are asked").unwrap();
        let about: Who = serde_json::from_slice(&question.payload).unwrap();
        about_who_left += usize::from(about.conversations.contains(&left));
    }
    assert_eq!(world.closed(left).await, None);
    leases.delete(&hung).await.unwrap();
    wait_for(SOON, "the thread to end", async || world.closed(left).await == Some(CloseReason::VisitorGone))
        .await;
    assert_eq!(world.closed(stayed).await, None);
}

#[tokio::test]
async fn an_edge_says_that_nobody_is_here_where_it_is_asked_by_name_or_for_an_answer() {
    let world = World::new().await;
    let _edge = world.edge().await;
    let client = &world.bus.client;
    let subject = tenant_signals(world.log.shard(), world.tenant, TenantTopic::Who);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    // About everyone there is nothing to say; who asks by name, or for an answer of each, waits for it.
    client.publish_with_reply(subject.clone(), inbox.clone(), "".into()).await.unwrap();
    let named = Who { conversations: vec![ConversationId::NIL], ..Who::default() };
    let each = Who { each_answers: true, ..Who::default() };
    for about in [named, each] {
        let question = serde_json::to_vec(&about).unwrap();
        client.publish_with_reply(subject.clone(), inbox.clone(), question.into()).await.unwrap();
        let answer = timeout(SOON, answers.next()).await.expect("an answer").unwrap();
        assert!(matches!(
            serde_json::from_slice(&answer.payload).unwrap(),
            TenantSignal::Visitors { visitors, .. } if visitors.is_empty()
        ));
    }
    client.flush().await.unwrap();
    let more = timeout(Duration::from_millis(300), answers.next()).await;
    assert!(more.is_err(), "one answer to each but the first: {more:?}");
}
