//! Threads that change hands on a real bus, and what is told beside the log.

use bus_schema::{
    AgentId, ConversationId, ErrorCode, GroupId,
    claims::Role,
    command::{Actor, Answer, Command},
    protocol::GroupStatus,
    signal::{Signal, TenantSignal},
    state::{RoutingStatus, Strategy, ThreadStatus},
    subject::{ConversationSubjects, TenantTopic, tenant_signals},
};
use futures::StreamExt as _;
use router::service::Turns;

use crate::kit::*;

fn by(n: u128) -> Actor {
    Actor::agent(agent(n), Role::Agent)
}

fn supervisor() -> Actor {
    Actor::agent(agent(99), Role::Supervisor)
}

fn transfer(
    id: ConversationId,
    agent_id: Option<AgentId>,
    group_id: Option<GroupId>,
    queue: bool,
) -> Command {
    Command::Transfer { conversation_id: id, thread_id: None, agent_id, group_id, queue }
}

#[tokio::test]
async fn a_thread_is_handed_on_joined_closed_and_opened_again() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1, 1]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    assert_eq!(kit.assigned(1).await, agent(1));
    let id = conversation(1);
    let refused = kit.ask(by(1), transfer(id, Some(agent(2)), None, false)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AgentUnavailable);
    kit.come(agent(2)).await;
    kit.ask(by(1), transfer(id, Some(agent(2)), None, false)).await.unwrap();
    assert_eq!(kit.life(1).await.assignee_id, Some(agent(2)));
    kit.ask(by(1), Command::Join { conversation_id: id, thread_id: None }).await.unwrap();
    assert_eq!(kit.life(1).await.participants, [agent(2), agent(1)]);
    kit.ask(by(1), Command::Leave { conversation_id: id, thread_id: None }).await.unwrap();
    kit.set_status(agent(1), RoutingStatus::NotAccepting).await;
    kit.ask(by(2), transfer(id, None, Some(group()), true)).await.unwrap();
    assert_eq!(kit.life(1).await.status, ThreadStatus::Queued);
    kit.set_status(agent(1), RoutingStatus::Accepting).await;
    assert_eq!(kit.assigned(1).await, agent(1));
    let before = kit.life(1).await.thread_id;
    kit.close(1).await.unwrap();
    let reopen = Command::Reopen { conversation_id: id, thread_id: Some(before) };
    let answer = kit.ask(supervisor(), reopen).await.unwrap();
    let Answer::Thread { thread_id, .. } = answer else { panic!("{answer:?}") };
    kit.assigned(1).await;
    let life = kit.life(1).await;
    assert_eq!((life.thread_id, life.previous_thread_id), (thread_id, Some(before)));
    kit.check().await;
}

#[tokio::test]
async fn changes_are_told_to_whoever_listens() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    let listen = async |subject: String| kit.bus.client.subscribe(subject).await.unwrap();
    let mut threads = listen(tenant_signals(SHARD, TENANT, TenantTopic::Threads)).await;
    let mut agents = listen(tenant_signals(SHARD, TENANT, TenantTopic::Agents)).await;
    let mut groups = listen(tenant_signals(SHARD, TENANT, TenantTopic::Groups)).await;
    let home = ConversationSubjects { shard: SHARD, tenant: TENANT, conversation: conversation(2) };
    let mut second = listen(home.signals()).await;
    kit.bus.client.flush().await.unwrap();
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.assigned(1).await;
    kit.start(2).await;
    let next = async |of: &mut async_nats::Subscriber| {
        let message = tokio::time::timeout(SOON, of.next()).await.unwrap().unwrap();
        message.payload
    };
    loop {
        let told: TenantSignal = serde_json::from_slice(&next(&mut threads).await).unwrap();
        let TenantSignal::Thread { conversation: view, seq, open } = told else { panic!("{told:?}") };
        assert!(open && seq > 0);
        if view.id == conversation(1) && view.thread.assignee_id == Some(agent(1)) {
            break;
        }
    }
    loop {
        let told: TenantSignal = serde_json::from_slice(&next(&mut agents).await).unwrap();
        let TenantSignal::Agents { agents } = told else { panic!("{told:?}") };
        if agents.iter().any(|view| view.id == agent(1) && view.load == 1) {
            break;
        }
    }
    loop {
        let told: TenantSignal = serde_json::from_slice(&next(&mut groups).await).unwrap();
        if told == (TenantSignal::Group { group_id: group(), status: GroupStatus::Queue }) {
            break;
        }
    }
    let told: Signal = serde_json::from_slice(&next(&mut second).await).unwrap();
    let conversation_id = conversation(2);
    assert_eq!(told, Signal::QueuePosition { conversation_id, position: 1, wait_s: None });
    kit.check().await;
}
