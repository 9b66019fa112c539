//! An edge dies with the sockets of fifty agents, and nobody says goodbye.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bus_schema::{
    AgentId, ConversationId,
    protocol::{Action, ConversationPage},
    state::{RoutingStatus, ThreadStatus},
};
use futures::{StreamExt as _, stream};
use ops::{
    client::{Client, Http, Options, Visitor},
    dev::guard::Signal,
    testing::wait_for,
};
use serde_json::{Value, json};

use crate::{
    procs,
    staff::Admin,
    verify,
    world::{Shape, World},
};

const LOST: usize = 50;
/// Of those, who go to the other edge at once.
const BACK: usize = 5;
/// Agents of the other edge, with room for one each.
const OTHERS: usize = 10;
const AGENT_GRACE: Duration = Duration::from_secs(8);
/// Beyond the grace: 5 s, and twice that where other work has the cores.
const BEYOND: Duration = Duration::from_secs(10);
const READY_WITHIN: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn what_fifty_agents_of_a_killed_edge_had_goes_on_with_others_or_waits_first() {
    let _turn = crate::turn().await;
    let grace = AGENT_GRACE.as_millis().to_string();
    let env =
        [("CHATBUS_AGENT_GRACE_MS", grace.as_str()), ("CHATBUS_LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS", "0")];
    let world = World::up(Shape::default(), &env).await;
    let (admin, edges) = (Admin::login(&world).await, world.edge_urls());
    let both = [edges[0].clone(), edges[1].clone()];
    let lost = stream::iter(0..LOST).map(|n| {
        let knows = if n < LOST - BACK { &both[..1] } else { &both[..] };
        agent(&admin, &world, format!("lost-{n}"), knows, RoutingStatus::Accepting)
    });
    let mut agents: Vec<Client> = lost.buffered(AT_ONCE).collect().await;
    let others = stream::iter(0..OTHERS)
        .map(|n| agent(&admin, &world, format!("other-{n}"), &both[1..], RoutingStatus::NotAccepting));
    let others: Vec<Client> = others.buffered(AT_ONCE).collect().await;
    let mut visitors = Vec::new();
    for n in 0..LOST {
        visitors.push(visitor(&world, &edges[1]).await);
        wait_for(READY_WITHIN, "the thread to be somebody's", async || {
            visitors[n]
                .client
                .thread(conversation(&visitors[n]))
                .is_some_and(|thread| thread.assignee_id.is_some())
        })
        .await;
    }
    let had: Vec<(ConversationId, AgentId)> =
        visitors.iter().map(|visitor| (conversation(visitor), assignee(visitor).unwrap())).collect();
    let holders: BTreeSet<AgentId> = had.iter().map(|(_, agent)| *agent).collect();
    assert_eq!(holders.len(), LOST, "one thread each");
    let back: BTreeSet<AgentId> = agents[LOST - BACK..].iter().map(id).collect();
    // Somebody who waits behind all of them.
    let last = visitor(&world, &edges[1]).await;

    let pid = world.pids()["edge"][0];
    procs::signal(pid, Signal::KILL);
    let killed = Instant::now();
    // Those who do not come back must not find the edge that is started in its place.
    drop(agents.drain(..LOST - BACK));
    for other in &others {
        other.set_status(RoutingStatus::Accepting).await.unwrap();
    }

    let now_with = |visitor: &Visitor| assignee(visitor).filter(|agent| holders.contains(agent));
    wait_for(AGENT_GRACE + BEYOND, "the dead to hold nothing", async || {
        let held: Vec<_> =
            visitors.iter().filter_map(now_with).filter(|agent| !back.contains(agent)).collect();
        if held.is_empty() { Ok(()) } else { Err(format!("{} threads are with the dead", held.len())) }
    })
    .await;
    println!(
        "all threads were with somebody else or in the queue {:?} after the kill; grace {AGENT_GRACE:?}",
        killed.elapsed()
    );
    verify::nothing_stuck(&world).await;

    let there: BTreeSet<AgentId> = others.iter().map(id).collect();
    let (mut kept, mut moved, mut waiting) = (0, 0, 0);
    for (visitor, (_, before)) in visitors.iter().zip(&had) {
        let thread = visitor.client.thread(conversation(visitor)).unwrap();
        match thread.assignee_id {
            Some(agent) if back.contains(&agent) => {
                assert_eq!(agent, *before, "who came back in time keeps theirs");
                kept += 1;
            }
            Some(agent) => {
                assert!(there.contains(&agent), "with somebody who is not there");
                moved += 1;
            }
            None => {
                assert_eq!(thread.status, ThreadStatus::Queued);
                waiting += 1;
            }
        }
    }
    assert_eq!(kept, BACK);
    // The one who waited may have had the first free place, before the edge was found dead.
    let overtook = assignee(&last).is_some();
    assert_eq!((moved + usize::from(overtook), waiting), (OTHERS, LOST - BACK - moved));
    let page = json!({ "view": "queue", "limit": 200 });
    let queue: ConversationPage = others[0].request(Action::ListConversations, &page).await.unwrap();
    assert_eq!(queue.conversations.len(), waiting + usize::from(!overtook));
    let place = |id: ConversationId| {
        Some(queue.conversations.iter().find(|listed| listed.id == id)?.thread.queue?.position)
    };
    let lost = had.iter().filter_map(|(id, _)| place(*id));
    assert_eq!(lost.max(), u32::try_from(waiting).ok(), "what was lost waits first: {queue:?}");

    let online: Value =
        admin.http.get(&format!("{}/v1/agents/online", admin.url), &admin.token).await.unwrap();
    let online = online["data"].as_array().unwrap().iter();
    let online: BTreeSet<AgentId> =
        online.map(|agent| agent["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(online, back.union(&there).copied().collect(), "nobody is online without a connection");
    verify::log_holds(&world, &world.log().await).await;
}

/// An agent with room for one, at the first of these edges.
async fn agent(
    admin: &Admin,
    world: &World,
    name: String,
    edges: &[String],
    status: RoutingStatus,
) -> Client {
    let adjust = |options: &mut Options| {
        (options.pushes, options.first_edge) = (0, 0);
        (options.edges, options.status) = (edges.to_vec(), Some(status));
    };
    let client = admin.agent_with(world, &name, 1, adjust).await;
    client.ready(READY_WITHIN).await.unwrap();
    client
}

async fn visitor(world: &World, edge: &str) -> Visitor {
    let quiet = |options: &mut Options| options.pushes = 0;
    let visitor =
        Visitor::open(&Http::new().unwrap(), &[edge.to_owned()], 0, &world.session(), quiet).await.unwrap();
    visitor.client.ready(READY_WITHIN).await.unwrap();
    visitor
}

fn id(agent: &Client) -> AgentId {
    AgentId::from_uuid(agent.profile().expect("logged in").id)
}

fn conversation(visitor: &Visitor) -> ConversationId {
    visitor.conversation.unwrap()
}

fn assignee(visitor: &Visitor) -> Option<AgentId> {
    visitor.client.thread(conversation(visitor))?.assignee_id
}
