//! Timers on a real bus, and routers that are not there when they are due.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bus_schema::{
    Author, ErrorCode, GroupId, IncarnationId, Lane, Subject,
    claims::Role,
    command::{Actor, Command},
    config::{GroupRecord, Member, RoutingSettings, WhenOffline},
    protocol::VisitorPresence,
    signal::TenantSignal,
    state::{CloseReason, DeadlineKind, RoutingStatus, Strategy, ThreadStatus},
    stream::edge_lease,
    subject::{TenantTopic, tenant_signals},
};
use futures::future::join_all;
use ops::testing::wait_for;
use router::service::Turns;
use uuid::Uuid;

use crate::kit::*;

/// Long enough for a test to be ready before it.
const DUE: Duration = Duration::from_secs(10);

fn group_of(n: u128) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(0x6100 + n))
}

fn record(n: u128, strategy: Strategy, members: &[u128], routing: RoutingSettings) -> GroupRecord {
    let members = members.iter().map(|n| Member::normal(agent(*n))).collect();
    let name = format!("group {n}");
    GroupRecord { name, strategy, members, routing, revision: 100, ..GroupRecord::new(TENANT, group_of(n)) }
}

async fn passed(due: Instant) {
    wait_for(DUE * 2, "the time to pass", async || Instant::now() >= due).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_due_while_the_router_was_killed_happens_once() {
    let due = Some(u32::try_from(DUE.as_secs()).unwrap());
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1; 7]).await;
    let none = RoutingSettings::default;
    let least = Strategy::LeastLoaded;
    for group in [
        record(1, least, &[1], RoutingSettings { answer_s: due, ..none() }),
        record(2, least, &[2], RoutingSettings { idle_s: due, idle_close_s: due, ..none() }),
        record(3, least, &[], RoutingSettings { queue_s: due, ..none() }),
        record(4, least, &[4], RoutingSettings { skills_waive_s: due, ..none() }),
        record(
            5,
            Strategy::Broadcast,
            &[5, 6],
            RoutingSettings { offer_to: Some(1), offer_s: due, ..none() },
        ),
        record(6, least, &[7], RoutingSettings { visitor_gone_s: due, ..none() }),
        GroupRecord { when_offline: WhenOffline::Close, ..record(7, least, &[], none()) },
    ] {
        kit.put_group(group).await;
    }
    let ops = free_port();
    let mut router = kit.process(ops);
    router.ready(SOON).await;
    kit.start_in(7, Some(group_of(7))).await;
    kit.come(agent(7)).await;
    kit.start_in(6, Some(group_of(6))).await;
    kit.assigned(6).await;
    // No edge knows of this visitor any more, and one says so.
    wait_for(SOON, "a visitor to be missed", async || {
        kit.visitor_left(6).await;
        kit.misses_visitor(6).await
    })
    .await;
    for n in [1, 2, 5, 6] {
        kit.come(agent(n)).await;
    }
    for n in 1..=5 {
        kit.start_in(n, Some(group_of(n))).await;
    }
    kit.assigned(1).await;
    kit.assigned(2).await;
    let (conversation_id, thread_id) = (conversation(4), None);
    let skills = Command::SetSkills { conversation_id, thread_id, skills: vec!["latin".to_owned()] };
    let supervisor = Actor::agent(agent(99), Role::Supervisor);
    wait_for(SOON, "skills to be wanted", async || kit.ask(supervisor, skills.clone()).await).await;
    kit.come(agent(4)).await;
    wait_for(SOON, "an offer", async || kit.count("offered").await == 1).await;
    wait_for(SOON, "the third to wait", async || kit.life(3).await.started_seq.is_some()).await;
    let ready = Instant::now();
    // What is due for a visitor's sake is no decision on who has the thread, and who is turned away does not wait.
    let page = fetch(ops, "/metrics").await;
    let decisions = series(&page, "chatbus_router_assignments_total");
    let of = |outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        decisions.iter().filter(|(labels, _)| labels.contains(&label)).map(|(_, count)| count).sum::<u64>()
    };
    assert_eq!((of("assigned"), of("turned_away")), (3, 1), "{decisions:?}");
    assert!(decisions.keys().all(|labels| !labels.contains("person")), "{decisions:?}");
    router.kill();
    let fired = async || {
        let mut counts = Vec::new();
        for kind in ["unanswered", "idle", "closed", "skills_waived", "offered"] {
            counts.push(kit.count(kind).await);
        }
        counts
    };
    assert_eq!(fired().await, [0, 0, 1, 0, 1], "nothing is due yet");
    passed(ready + DUE + Duration::from_millis(100)).await;
    router.restart().unwrap();
    wait_for(SOON, "all of it to be done", async || fired().await == [1, 1, 3, 1, 2]).await;
    assert_eq!(kit.assigned(4).await, agent(4));
    assert_eq!(
        (kit.life(1).await.status, kit.life(3).await.status),
        (ThreadStatus::Queued, ThreadStatus::Closed)
    );
    assert_eq!(kit.closed(6).await, Some(CloseReason::VisitorGone));
    let kinds = ["answer", "idle", "queue", "skills_waive", "visitor_gone"];
    let timers = kinds.map(|kind| (format!("kind=\"{kind}\""), 1));
    wait_for(SOON, "all of it to be counted", async || {
        let found = series(&fetch(ops, "/metrics").await, "chatbus_router_timers_total");
        if found == BTreeMap::from(timers.clone()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    // Killed again before what follows from it.
    router.kill();
    passed(Instant::now() + DUE).await;
    router.restart().unwrap();
    wait_for(SOON, "the idle one to be closed", async || kit.closed(2).await == Some(CloseReason::Idle))
        .await;
    wait_for(SOON, "the next offer", async || kit.count("offered").await >= 3).await;
    assert_eq!(fired().await[..4], [1, 1, 4, 1]);
    assert_eq!(kit.agent(agent(2)).await.unwrap().load(), 0);
    kit.check().await;
}

/// Longer than it takes to notice that an edge is gone.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_the_router_was_killed_is_lost_once() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1, 2]).await;
    let ops = free_port();
    let mut router = kit.process_of(ops, "lease", GRACE);
    router.ready(SOON).await;
    let edges = [0xE000, 0xE001, 0xE002].map(|n| IncarnationId::from_uuid(Uuid::from_u128(n)));
    for (n, edge) in (1..=3).zip(edges) {
        kit.edge = edge;
        kit.leases.put(&edge_lease(edge), "{}").await.unwrap();
        kit.come(agent(n)).await;
        if n < 3 {
            kit.start(n).await;
            assert_eq!(kit.assigned(n).await, agent(n));
        }
    }
    // One says goodbye; the other's edge dies, and by then nobody is there to see it.
    kit.edge = edges[0];
    kit.connections(agent(1), 0).await;
    let left = Instant::now();
    router.kill();
    kit.edge = edges[1];
    kit.drop_lease().await;
    assert_eq!(kit.count("agent_lost").await, 0, "nothing is due yet");
    passed(left + GRACE + Duration::from_millis(100)).await;
    assert_eq!(kit.count("agent_lost").await, 0, "nobody decides");
    router.restart().unwrap();
    wait_for(SOON, "the first to be lost", async || kit.life(1).await.assignee_id == Some(agent(3))).await;
    assert!(kit.agent(agent(2)).await.unwrap().holds(conversation(2)), "an edge has the time from now on");
    wait_for(SOON, "the second to be lost", async || kit.life(2).await.assignee_id == Some(agent(3))).await;
    for n in 1..=2 {
        let state = kit.agent(agent(n)).await.unwrap();
        assert!(!state.is_connected() && state.conversations.is_empty(), "{state:?}");
    }
    let counted = || async {
        let found = series(&fetch(ops, "/metrics").await, "chatbus_router_timers_total");
        found.get("kind=\"agent_lost\"").copied()
    };
    wait_for(SOON, "both to be counted", async || counted().await == Some(2)).await;
    // And never again.
    router.kill();
    router.restart().unwrap();
    kit.connections(agent(1), 1).await;
    wait_for(SOON, "the first to be there again", async || kit.agent(agent(1)).await.unwrap().is_connected())
        .await;
    assert_eq!(kit.count("agent_lost").await, 2);
    kit.check().await;
}

#[tokio::test]
async fn an_answer_in_the_log_keeps_the_thread_and_silence_loses_it() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1]).await;
    kit.routing(RoutingSettings { answer_s: Some(3), ..RoutingSettings::default() }).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.assigned(1).await;
    kit.come(agent(2)).await;
    kit.say(1, Author::visitor(visitor(1))).await;
    kit.say(1, Author::agent(agent(1))).await;
    passed(Instant::now() + Duration::from_secs(5)).await;
    assert_eq!(kit.life(1).await.assignee_id, Some(agent(1)));
    let from = Instant::now();
    kit.say(1, Author::visitor(visitor(1))).await;
    wait_for(SOON, "the other to have it", async || kit.life(1).await.assignee_id == Some(agent(2))).await;
    assert!(from.elapsed() >= Duration::from_secs(3), "not before its time: {:?}", from.elapsed());
    kit.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_accept_an_offer_at_once_one_has_it() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::Broadcast, &[1; 10]).await;
    kit.routing(RoutingSettings { offer_to: Some(10), ..RoutingSettings::default() }).await;
    let _one = kit.router(Turns::Together).await;
    let _two = kit.router(Turns::Together).await;
    for n in 1..=10 {
        kit.come(agent(n)).await;
    }
    kit.start(1).await;
    wait_for(SOON, "an offer", async || kit.count("offered").await > 0).await;
    kit.set_status(agent(10), RoutingStatus::NotAccepting).await;
    let (conversation_id, thread_id) = (conversation(1), None);
    let kit = &kit;
    let accept = |n| async move {
        let actor = Actor::agent(agent(n), Role::Agent);
        kit.ask(actor, Command::Take { conversation_id, thread_id }).await
    };
    let outcomes = join_all((1..=10).map(accept)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let told = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(told.into_iter().all(|error| error.code == ErrorCode::AlreadyAssigned), "{outcomes:?}");
    kit.check().await;
}

/// The labels of a counter on a page of metrics, each with its count.
fn series(page: &str, name: &str) -> BTreeMap<String, u64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    lines.map(|(labels, count)| (labels.to_owned(), count.parse().unwrap())).collect()
}

impl Kit {
    /// How many events of this kind are in the log.
    async fn count(&self, kind: &str) -> usize {
        self.everything().await.iter().filter(|logged| logged.event.body.name() == kind).count()
    }

    /// What an edge says once a visitor's last connection there is gone.
    async fn visitor_left(&self, n: u128) {
        let (id, conversation_id) = (visitor(n), conversation(n));
        let gone = VisitorPresence { id, conversation_id, online: false, page: None, group_id: None };
        let signal = TenantSignal::Visitors { edge: self.edge, visitors: vec![gone] };
        let subject = tenant_signals(SHARD, TENANT, TenantTopic::Visitors);
        self.bus.client.publish(subject, serde_json::to_vec(&signal).unwrap().into()).await.unwrap();
    }

    /// The time after which a thread ends without its visitor is in the log.
    async fn misses_visitor(&self, n: u128) -> bool {
        let all = self.everything().await;
        let of = all.iter().rev().filter(|logged| logged.event.conversation_id == Some(conversation(n)));
        let desk = of.filter_map(|logged| logged.event.body.desk_state()).next();
        desk.is_some_and(|desk| desk.deadlines.iter().any(|due| due.kind == DeadlineKind::VisitorGone))
    }

    /// Why a conversation's thread was closed.
    async fn closed(&self, n: u128) -> Option<CloseReason> {
        let last = self.log.last(&life_subject(n)).await.unwrap()?;
        match bus_schema::Event::decode(&last.payload).unwrap().body {
            bus_schema::Body::Closed(closed) => Some(closed.reason),
            _ => None,
        }
    }

    /// A message, as an edge writes it.
    async fn say(&self, n: u128, author: Author) {
        let (shard, tenant, lane) = (SHARD, TENANT, Lane::Msg);
        let subject = Subject::Conversation { shard, tenant, conversation: conversation(n), lane };
        let event = bus_schema::Event {
            id: bus_schema::EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: TENANT,
            conversation_id: Some(conversation(n)),
            thread_id: Some(self.life(n).await.thread_id),
            author,
            client_id: None,
            visibility: bus_schema::Visibility::All,
            body: bus_schema::Body::Message(bus_schema::event::Message {
                text: "hello".into(),
                quick_replies: Vec::new(),
            }),
        };
        self.log.publish(ops::log::Write::new(subject.to_string(), event.encode())).await.unwrap();
    }
}
