//! What is told beside the conversations: views, presence, groups, configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus_schema::{
    AgentId, ConversationId, GroupId,
    claims::Role,
    command::{Answer, Command, CommandRequest, Outcome, View},
    config::{GroupRecord, Record},
    protocol::{AgentView, ConversationView, GroupStatus, QueueView},
    signal::TenantSignal,
    state::{AgentStatus, Priority},
    subject::{TenantTopic, tenant_signals},
};
use ops::testing::wait_for;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::Client,
    http,
    world::{Edge, World, now},
};

/// What the router says, as the test sets it.
#[derive(Default)]
struct Words {
    threads: Vec<ConversationView>,
    agents: Vec<AgentView>,
    groups: BTreeMap<GroupId, GroupStatus>,
    listed: u64,
    groups_asked: u64,
}

type Router = Arc<Mutex<Words>>;

async fn router(world: &World) -> Router {
    let words = Router::default();
    let told = words.clone();
    let answer = move |request: &CommandRequest| {
        let mut words = told.lock().unwrap();
        let answer = match &request.command {
            Command::ListConversations { view: View::Mine, .. } => return None,
            Command::ListConversations { .. } => {
                words.listed += 1;
                let conversations = words.threads.clone();
                let total = conversations.len() as u64;
                Answer::Conversations { conversations, next_cursor: None, total, at: now() }
            }
            Command::GetConversation { conversation_id } => {
                let found = words.threads.iter().find(|view| view.id == *conversation_id);
                let conversations: Vec<_> = found.cloned().into_iter().collect();
                let total = conversations.len() as u64;
                Answer::Conversations { conversations, next_cursor: None, total, at: now() }
            }
            Command::ListAgents => Answer::Agents { agents: words.agents.clone() },
            Command::ListGroups => {
                words.groups_asked += 1;
                Answer::Groups { groups: words.groups.clone() }
            }
            _ => return None,
        };
        Some(Outcome::Accepted { answer })
    };
    let mut asked = world.answer_with(answer).await;
    tokio::spawn(async move { while asked.recv().await.is_some() {} });
    words
}

impl World {
    async fn tell(&self, topic: TenantTopic, signal: &TenantSignal) {
        let subject = tenant_signals(self.log.shard(), self.tenant, topic);
        self.bus.client.publish(subject, serde_json::to_vec(signal).unwrap().into()).await.unwrap();
    }

    async fn tell_thread(&self, conversation: &ConversationView, seq: u64, open: bool) {
        let signal = TenantSignal::Thread { conversation: conversation.clone(), seq, open };
        self.tell(TenantTopic::Threads, &signal).await;
    }

    async fn staff(&self, edge: &Edge, agent: AgentId, role: Role) -> Client {
        let (mut client, _) = Client::login(edge.at, &self.staff_token(agent, role)).await;
        // Whoever has this answer is on the floor, which hears all signals by then.
        assert_eq!(client.request("list_visitors", json!({})).await["success"], true);
        client
    }

    async fn visit(&self, edge: &Edge, key: u8, more: Value) -> (Client, ConversationId) {
        let session = self.session(edge, [key; 32], more).await;
        let (client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
        let visitor = session["visitor"]["id"].as_str().unwrap().parse().unwrap();
        (client, ConversationId::of(self.tenant, visitor))
    }

    fn group_record(&self, group_id: GroupId, revision: u64) -> Record {
        Record::Group(GroupRecord {
            name: "Others".into(),
            revision,
            ..GroupRecord::new(self.tenant, group_id)
        })
    }
}

fn view_push<'a>(action: &'a str, view: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |frame| frame["action"] == action && frame["payload"]["view"] == view
}

#[tokio::test]
async fn a_followed_view_tells_what_comes_changes_and_goes() {
    let world = World::new().await;
    let router = router(&world).await;
    let edge = world.edge().await;
    let (_visitor, conversation) = world.visit(&edge, 1, json!({ "initial_message": "Hello?" })).await;
    let waits = world.view(conversation).await;
    let mut inside = world.staff(&edge, world.agents[0], Role::Agent).await;
    let mut outside = world.staff(&edge, world.agents[2], Role::Agent).await;
    for client in [&mut inside, &mut outside] {
        let queue = json!({ "view": "queue", "subscribe": true });
        let answer = client.request("list_conversations", queue).await;
        assert_eq!(answer["payload"], json!({ "conversations": [], "next_cursor": null, "total": 0 }));
    }
    router.lock().unwrap().threads = vec![waits.clone()];
    world.tell_thread(&waits, 1, true).await;
    let available = inside.find(view_push("conversation_available", "queue")).await;
    assert_eq!(available["payload"]["conversation"]["id"], json!(conversation));
    let urgent = ConversationView { priority: Priority::Urgent, ..waits.clone() };
    for seq in 2..5 {
        let priority = if seq == 4 { Priority::Urgent } else { Priority::High };
        world.tell_thread(&ConversationView { priority, ..urgent.clone() }, seq, true).await;
    }
    let updated = inside.find(view_push("conversation_updated", "queue")).await;
    assert_eq!(updated["payload"]["conversation"]["priority"], "urgent", "told once, as it is then");
    world.tell_thread(&urgent, 5, false).await;
    let removed = inside.find(view_push("conversation_removed", "queue")).await;
    assert_eq!(removed["payload"]["conversation_id"], json!(conversation));
    outside.request("ping", json!({})).await;
    assert!(outside.seen().all(|frame| !frame.to_string().contains(&conversation.to_string())));
}

#[tokio::test]
async fn after_a_lost_bus_a_view_is_listed_again_and_the_difference_told() {
    let mut world = World::new().await;
    let router = router(&world).await;
    let edge = world.edge().await;
    let (_one, first) = world.visit(&edge, 1, json!({ "initial_message": "One" })).await;
    let (_two, second) = world.visit(&edge, 2, json!({ "initial_message": "Two" })).await;
    let views = [world.view(first).await, world.view(second).await];
    router.lock().unwrap().threads = vec![views[0].clone()];
    let mut staff = world.staff(&edge, world.agents[0], Role::Agent).await;
    let answer = staff.request("list_conversations", json!({ "view": "group", "subscribe": true })).await;
    assert_eq!(answer["payload"]["total"], 1);
    world.nats.kill();
    router.lock().unwrap().threads = vec![views[1].clone()];
    world.nats.restart().await;
    let available = staff.find(view_push("conversation_available", "group")).await;
    assert_eq!(available["payload"]["conversation"]["id"], json!(second));
    let removed = staff.find(view_push("conversation_removed", "group")).await;
    assert_eq!(removed["payload"]["conversation_id"], json!(first));
    let listed = router.lock().unwrap().listed;
    assert!(listed <= 6, "a view is not listed over and over: {listed}");
}

#[tokio::test]
async fn staff_are_told_of_agents_that_change_and_of_nothing_else() {
    let world = World::new().await;
    let router = router(&world).await;
    let agent =
        |n: usize, load| AgentView { id: world.agents[n], status: AgentStatus::Accepting, load, capacity: 5 };
    router.lock().unwrap().agents =
        vec![agent(0, 0), AgentView { status: AgentStatus::Offline, ..agent(1, 0) }];
    let edge = world.edge().await;
    let mut staff = world.staff(&edge, world.agents[2], Role::Agent).await;
    let (mut visitor, _) = world.visit(&edge, 1, json!({})).await;
    let online = staff.request("list_agents", json!({})).await;
    assert_eq!(online["payload"]["agents"], json!([agent(0, 0)]), "who is offline is not online");
    let agents = vec![agent(0, 1), AgentView { status: AgentStatus::Offline, ..agent(1, 0) }];
    world.tell(TenantTopic::Agents, &TenantSignal::Agents { agents }).await;
    let told = staff.find(|frame| frame["payload"]["agents"].is_array()).await;
    assert_eq!(told["payload"]["agents"], json!([agent(0, 1)]));
    visitor.request("ping", json!({})).await;
    assert!(visitor.seen().all(|frame| frame["action"] != "presence"));
}

#[tokio::test]
async fn visitors_are_online_over_all_edges_for_those_whose_business_they_are() {
    let world = World::new().await;
    let (one, two) = (world.edge().await, world.edge().await);
    let (mut visitor, conversation) = world.visit(&one, 1, json!({ "initial_message": "Hello?" })).await;
    let (mut idle, _) = world.visit(&one, 2, json!({})).await;
    let mut inside = world.staff(&two, world.agents[0], Role::Agent).await;
    let mut outside = world.staff(&two, world.agents[2], Role::Agent).await;
    let mut supervisor = world.staff(&two, world.agents[2], Role::Supervisor).await;
    for (client, sees) in [(&mut inside, 2), (&mut outside, 1), (&mut supervisor, 2)] {
        wait_for(Duration::from_secs(10), "both visitors to be known", async || {
            let answer = client.request("list_visitors", json!({})).await;
            let visitors = answer["payload"]["visitors"].as_array().unwrap().clone();
            let online = visitors.iter().all(|visitor| visitor["online"] == true);
            if visitors.len() == sees && online { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
    // What staff see of a conversation says so too, wherever the visitor is.
    world.assign(conversation, world.agents[0]).await;
    let available = inside.push("conversation_available").await;
    assert_eq!(available["conversation"]["visitor"]["online"], true);
    let page = json!({ "url": "https://shop.example/hats", "title": "Hats" });
    assert_eq!(visitor.request("set_page", page.clone()).await["success"], true);
    let turned = inside.find(|frame| frame["payload"]["visitors"][0]["page"].is_object()).await;
    assert_eq!(turned["payload"]["visitors"][0]["page"], page);
    drop(visitor);
    let is = |frame: &Value| {
        let told = &frame["payload"]["visitors"][0];
        told["online"] == false && told["conversation_id"] == json!(conversation)
    };
    inside.find(is).await;
    outside.request("ping", json!({})).await;
    assert!(outside.seen().all(|frame| !frame.to_string().contains(&conversation.to_string())));
    // With a thread of that group, the other one is out of the outsider's sight, too.
    let started = idle.request("start_thread", json!({})).await;
    let gone = outside.find(|frame| frame["payload"]["visitors"][0]["online"] == false).await;
    let told = &gone["payload"]["visitors"][0];
    assert_eq!(told["conversation_id"], started["payload"]["id"], "{gone}");
    assert_eq!((&told["page"], &told["group_id"]), (&Value::Null, &Value::Null));
    let conversation = started["payload"]["id"].clone();
    let has = |frame: &Value| {
        let told = &frame["payload"]["visitors"][0];
        told["conversation_id"] == conversation && told["group_id"] == json!(world.group)
    };
    assert_eq!(inside.find(has).await["payload"]["visitors"][0]["online"], true);
    assert!(idle.seen().all(|frame| frame["action"] != "presence"));
}

#[tokio::test]
async fn visitors_hear_of_their_group_and_the_page_is_told_as_well() {
    let world = World::new().await;
    let router = router(&world).await;
    router.lock().unwrap().groups = BTreeMap::from([(world.group, GroupStatus::Online)]);
    let edge = world.edge().await;
    let config = format!("/v1/widget/config/{}", world.widget_key);
    let shown = http::request(edge.at, "GET", &config, &[], "").await;
    assert_eq!(shown.body["groups"][0]["status"], "online", "{shown:?}");
    let (mut visitor, _) = world.visit(&edge, 1, json!({})).await;
    let status = visitor.push("group_status").await;
    assert_eq!(status, json!({ "group_id": world.group, "status": "online" }));
    // The page asked once, and the visitor's edge after it had begun to listen.
    wait_for(Duration::from_secs(10), "the groups to be followed", async || {
        router.lock().unwrap().groups_asked == 2
    })
    .await;
    let others = GroupId::from_uuid(Uuid::now_v7());
    for (group_id, status) in [(others, GroupStatus::Online), (world.group, GroupStatus::Offline)] {
        world.tell(TenantTopic::Groups, &TenantSignal::Group { group_id, status }).await;
    }
    let status = visitor.push("group_status").await;
    assert_eq!(status, json!({ "group_id": world.group, "status": "offline" }));
    let shown = http::request(edge.at, "GET", &config, &[], "").await;
    assert_eq!(shown.body["groups"][0]["status"], "offline");
}

#[tokio::test]
async fn staff_hear_which_record_changed_and_everyone_who_met_an_agent_of_the_new_name() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (mut visitor, conversation) = world.visit(&edge, 1, json!({ "initial_message": "Hello?" })).await;
    world.assign(conversation, world.agents[0]).await;
    let mut staff = world.staff(&edge, world.agents[0], Role::Agent).await;
    let said = crate::client::message(&json!(conversation), "a-1", "Good day");
    staff.request("send_event", said).await;
    visitor.event("message").await;
    let others = GroupId::from_uuid(Uuid::now_v7());
    world.put(&world.group_record(others, 7)).await;
    let changed = staff.push("config_changed").await;
    assert_eq!(changed, json!({ "entity": "group", "id": others, "op": "put", "revision": 7 }));
    world.put(&world.renamed(0, "Ada")).await;
    let person = visitor.push("person").await;
    assert_eq!((&person["person"]["name"], &person["person"]["type"]), (&json!("Ada"), &json!("agent")));
    assert!(visitor.seen().all(|frame| frame["action"] != "config_changed"));
}

#[tokio::test]
async fn a_snapshot_says_where_the_thread_waits_if_the_router_knows() {
    let world = World::new().await;
    let edge = world.edge().await;
    let first = json!({ "initial_message": "Hello?" });
    let session = world.session(&edge, [1; 32], first.clone()).await;
    assert_eq!(session["conversation"]["thread"]["queue"], json!(null), "nobody answers");
    let router = router(&world).await;
    let id = session["conversation"]["id"].as_str().unwrap().parse().unwrap();
    let mut waits = world.view(id).await;
    waits.thread.queue = Some(QueueView { position: 3, wait_s: Some(40) });
    router.lock().unwrap().threads = vec![waits];
    let (_client, login) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let queue = &login["conversations"][0]["thread"]["queue"];
    assert_eq!(queue, &json!({ "position": 3, "wait_s": 40 }));
}
