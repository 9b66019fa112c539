//! Staff at work over two edges, with a real router behind them.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::{ConversationId, claims::Role, config::Record, limits::LOGIN_CONVERSATIONS_MAX};
use futures::future::join_all;
use ops::testing::wait_for;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, message},
    routed::Routed,
    world::{Edge, World},
};

const SOON: Duration = Duration::from_secs(20);

pub struct Desk {
    pub world: World,
    pub one: Edge,
    pub two: Edge,
    _router: Routed,
}

impl Desk {
    pub async fn open() -> Self {
        Self::over(World::new().await).await
    }

    /// In a world that is set up already.
    pub async fn over(world: World) -> Self {
        let router = world.routed().await;
        let (one, two) = (world.edge().await, world.edge().await);
        Self { world, one, two, _router: router }
    }

    pub async fn staff(&self, edge: &Edge, n: usize, role: Role) -> Client {
        Client::login(edge.at, &self.world.staff_token(self.world.agents[n], role)).await.0
    }

    pub async fn visitor(&self, edge: &Edge, key: u8) -> (Client, ConversationId) {
        let first = json!({ "initial_message": "Hello?", "name": "Ann" });
        let session = self.world.session(edge, [key; 32], first).await;
        let (client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
        (client, session["conversation"]["id"].as_str().unwrap().parse().unwrap())
    }

    /// The agent is given this much room; the router has heard of it.
    async fn set_capacity(&self, n: usize, capacity: u32, boss: &mut Client) {
        let Record::Agent(mut record) = self.world.renamed(n, "Agent") else { panic!("an agent's record") };
        record.capacity = capacity;
        self.world.put(&Record::Agent(record)).await;
        wait_for(SOON, "the router to know the capacity", async || {
            let answer = boss.request("list_agents", json!({})).await;
            let agents = answer["payload"]["agents"].as_array().unwrap().clone();
            let agent = agents.into_iter().find(|agent| agent["id"] == json!(self.world.agents[n]));
            if agent.is_some_and(|agent| agent["capacity"] == capacity) {
                Ok(())
            } else {
                Err(answer.to_string())
            }
        })
        .await;
    }
}

pub fn about(conversation: ConversationId) -> Value {
    json!({ "conversation_id": conversation })
}

pub fn with(conversation: ConversationId, more: Value) -> Value {
    let mut payload = about(conversation);
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload
}

/// `ok`, or the code of the error.
pub async fn ask(client: &mut Client, action: &str, payload: Value) -> String {
    let answer = client.request(action, payload).await;
    match answer["success"].as_bool() {
        Some(true) => "ok".to_owned(),
        _ => answer["payload"]["error"]["code"].as_str().unwrap().to_owned(),
    }
}

/// Takes a thread, as soon as the router knows of it.
pub async fn take(client: &mut Client, conversation: ConversationId) {
    wait_for(SOON, "the router to know of the thread", async || {
        let outcome = ask(client, "take", about(conversation)).await;
        if outcome == "ok" { Ok(()) } else { Err(outcome) }
    })
    .await;
}

pub async fn comes(client: &mut Client, conversation: ConversationId) -> Value {
    client
        .find(|frame| {
            is(frame, "conversation_available", "mine", &frame["payload"]["conversation"]["id"], conversation)
        })
        .await
}

async fn goes(client: &mut Client, conversation: ConversationId) {
    client
        .find(|frame| {
            is(frame, "conversation_removed", "mine", &frame["payload"]["conversation_id"], conversation)
        })
        .await;
}

pub fn is(frame: &Value, action: &str, view: &str, id: &Value, conversation: ConversationId) -> bool {
    frame["action"] == action && frame["payload"]["view"] == view && *id == json!(conversation)
}

#[tokio::test]
async fn a_thread_is_taken_joined_and_handed_on_and_every_connection_agrees() {
    let desk = Desk::open().await;
    let (mut visitor, id) = desk.visitor(&desk.one, 1).await;
    let mut first = desk.staff(&desk.one, 0, Role::Agent).await;
    let mut tab = desk.staff(&desk.two, 0, Role::Agent).await;
    let mut other = desk.staff(&desk.two, 1, Role::Agent).await;
    let mut boss = desk.staff(&desk.one, 2, Role::Supervisor).await;
    let [one, two] = [0, 1].map(|n| desk.world.agents[n]);

    take(&mut first, id).await;
    for client in [&mut first, &mut tab] {
        comes(client, id).await;
    }
    assert_eq!(visitor.event("assigned").await["event"]["data"]["agent_id"], json!(one));
    assert_eq!(ask(&mut other, "take", about(id)).await, "already_assigned");
    assert_eq!(ask(&mut other, "decline", about(id)).await, "conflict");
    let stale = with(id, json!({ "thread_id": Uuid::now_v7() }));
    for action in ["take", "join", "leave", "decline", "close_thread"] {
        assert_eq!(ask(&mut first, action, stale.clone()).await, "conflict", "{action}");
    }

    assert_eq!(ask(&mut other, "join", about(id)).await, "ok");
    comes(&mut other, id).await;
    for client in [&mut visitor, &mut first, &mut tab] {
        assert_eq!(client.event("joined").await["event"]["data"]["agent_id"], json!(two));
    }
    assert_eq!(ask(&mut other, "send_event", message(&json!(id), "o-1", "Me too")).await, "ok");
    assert_eq!(visitor.event("message").await["event"]["author"]["id"], json!(two));
    assert_eq!(ask(&mut first, "leave", about(id)).await, "conflict");
    assert_eq!(ask(&mut other, "leave", about(id)).await, "ok");
    visitor.event("left").await;
    goes(&mut other, id).await;
    assert_eq!(ask(&mut other, "leave", about(id)).await, "not_participant");

    let hand_on = with(id, json!({ "to": { "agent_id": two }, "note": "Mind the step" }));
    assert_eq!(ask(&mut other, "transfer", hand_on.clone()).await, "not_participant");
    assert_eq!(ask(&mut other, "set_status", json!({ "status": "accepting" })).await, "ok");
    let handed = first.request("transfer", hand_on).await;
    assert!(handed["payload"]["note"]["seq"].is_u64(), "{handed}");
    for client in [&mut first, &mut tab] {
        goes(client, id).await;
    }
    comes(&mut other, id).await;
    let page = other.request("list_events", about(id)).await;
    assert!(page.to_string().contains("Mind the step"), "{page}");
    visitor.event("transferred").await;

    for (action, more) in
        [("assign", json!({ "agent_id": one })), ("set_priority", json!({ "priority": "high" }))]
    {
        assert_eq!(ask(&mut other, action, with(id, more.clone())).await, "forbidden");
        assert_eq!(ask(&mut boss, action, with(id, more)).await, "ok");
    }
    goes(&mut other, id).await;
    for client in [&mut first, &mut tab] {
        comes(client, id).await;
    }
    assert_eq!(ask(&mut boss, "take", about(id)).await, "ok");
    goes(&mut tab, id).await;
    comes(&mut boss, id).await;
    let back = with(id, json!({ "to": { "group_id": desk.world.group }, "queue": true }));
    assert_eq!(ask(&mut boss, "transfer", back).await, "ok");
    goes(&mut boss, id).await;
    // Somebody of the group accepts chats.
    comes(&mut other, id).await;
    assert_eq!(ask(&mut other, "close_thread", about(id)).await, "ok");
    for client in [&mut visitor, &mut other] {
        client.event("closed").await;
    }
    goes(&mut other, id).await;
    for action in ["take", "join", "close_thread"] {
        assert_eq!(ask(&mut first, action, about(id)).await, "thread_closed", "{action}");
    }
    let notes = visitor.read.iter().filter(|frame| frame.to_string().contains("Mind the step"));
    assert_eq!(notes.count(), 0);
}

#[tokio::test]
async fn a_thread_waits_in_its_own_group_where_who_is_named_cannot_take_it() {
    let desk = Desk::open().await;
    let (mut visitor, id) = desk.visitor(&desk.one, 1).await;
    let mut agent = desk.staff(&desk.one, 0, Role::Agent).await;
    take(&mut agent, id).await;
    comes(&mut agent, id).await;
    let to = |queue| with(id, json!({ "to": { "agent_id": desk.world.agents[1] }, "queue": queue }));
    assert_eq!(ask(&mut agent, "transfer", to(false)).await, "agent_unavailable");
    assert_eq!(ask(&mut agent, "transfer", to(true)).await, "ok");
    goes(&mut agent, id).await;
    let moved = visitor.event("transferred").await["event"]["data"]["to"].clone();
    assert_eq!((&moved["group_id"], &moved["agent_id"]), (&json!(desk.world.group), &Value::Null), "{moved}");
}

#[tokio::test]
async fn nobody_is_given_more_than_they_have_room_for() {
    let desk = Desk::open().await;
    let (_ann, first) = desk.visitor(&desk.one, 1).await;
    let (_ben, second) = desk.visitor(&desk.two, 2).await;
    let mut agent = desk.staff(&desk.one, 0, Role::Agent).await;
    let mut boss = desk.staff(&desk.two, 2, Role::Supervisor).await;
    desk.set_capacity(0, 1, &mut boss).await;
    take(&mut agent, first).await;
    comes(&mut agent, first).await;
    assert_eq!(ask(&mut agent, "take", about(second)).await, "over_capacity");
    let agent_id = desk.world.agents[0];
    assert_eq!(
        ask(&mut boss, "assign", with(second, json!({ "agent_id": agent_id }))).await,
        "over_capacity"
    );
    let nobody = json!({ "agent_id": Uuid::now_v7() });
    assert_eq!(ask(&mut boss, "assign", with(second, nobody.clone())).await, "not_found");
    assert_eq!(ask(&mut boss, "transfer", with(second, json!({ "to": nobody }))).await, "not_found");
}

#[tokio::test]
async fn a_thread_goes_to_who_has_the_skills_that_a_supervisor_asks_for() {
    let desk = Desk::open().await;
    let mut boss = desk.staff(&desk.one, 2, Role::Supervisor).await;
    let mut plain = desk.staff(&desk.one, 0, Role::Agent).await;
    let mut scholar = desk.staff(&desk.two, 1, Role::Agent).await;
    let (_ann, latin) = desk.visitor(&desk.one, 1).await;
    let wanted = with(latin, json!({ "skills": ["latin"] }));
    wait_for(SOON, "the router to know of the thread", async || {
        let outcome = ask(&mut boss, "set_skills", wanted.clone()).await;
        if outcome == "ok" { Ok(()) } else { Err(outcome) }
    })
    .await;
    assert_eq!(ask(&mut plain, "set_skills", with(latin, json!({ "skills": [] }))).await, "forbidden");
    let stale = with(latin, json!({ "skills": [], "thread_id": Uuid::now_v7() }));
    assert_eq!(ask(&mut boss, "set_skills", stale).await, "conflict");
    let twice = boss.request("set_skills", with(latin, json!({ "skills": ["greek", " ", "greek"] }))).await;
    let errors = twice["payload"]["error"]["errors"].as_array().unwrap();
    let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/payload/skills/1", "/payload/skills/2"]);

    let accepting = json!({ "status": "accepting" });
    assert_eq!(ask(&mut plain, "set_status", accepting.clone()).await, "ok");
    // Who came later is served first, for the other one waits for somebody else.
    let (_ben, later) = desk.visitor(&desk.two, 2).await;
    comes(&mut plain, later).await;
    let waits = boss.request("list_conversations", json!({ "view": "queue" })).await;
    assert_eq!(waits["payload"]["conversations"][0]["id"], json!(latin), "{waits}");

    let Record::Agent(mut record) = desk.world.renamed(1, "Scholar") else { panic!("an agent's record") };
    record.skills = vec!["greek".to_owned(), "latin".to_owned()];
    desk.world.put(&Record::Agent(record)).await;
    assert_eq!(ask(&mut scholar, "set_status", accepting).await, "ok");
    comes(&mut scholar, latin).await;
}

#[tokio::test]
async fn views_places_in_the_queue_and_presence_are_the_same_on_every_edge() {
    let desk = Desk::open().await;
    let mut boss = desk.staff(&desk.one, 2, Role::Supervisor).await;
    let mut agent = desk.staff(&desk.two, 0, Role::Agent).await;
    let mut outsider = desk.staff(&desk.two, 2, Role::Agent).await;
    for client in [&mut boss, &mut agent, &mut outsider] {
        for view in ["mine", "queue", "group", "all"] {
            let wanted = json!({ "view": view, "subscribe": true });
            let answer = client.request("list_conversations", wanted).await;
            assert_eq!(answer["payload"]["total"], 0, "{answer}");
        }
    }
    let (mut ann, first) = desk.visitor(&desk.one, 1).await;
    for client in [&mut boss, &mut agent] {
        for view in ["queue", "group", "all"] {
            client
                .find(|frame| {
                    is(frame, "conversation_available", view, &frame["payload"]["conversation"]["id"], first)
                })
                .await;
        }
    }
    let (mut ben, second) = desk.visitor(&desk.two, 2).await;
    at(&mut ben, 2).await;
    agent
        .find(|frame| {
            is(frame, "conversation_available", "queue", &frame["payload"]["conversation"]["id"], second)
        })
        .await;
    assert_eq!(ask(&mut boss, "set_priority", with(second, json!({ "priority": "urgent" }))).await, "ok");
    at(&mut ben, 1).await;
    at(&mut ann, 2).await;
    let urgent = agent
        .find(|frame| {
            is(frame, "conversation_updated", "queue", &frame["payload"]["conversation"]["id"], second)
        })
        .await;
    assert_eq!(urgent["payload"]["conversation"]["priority"], "urgent");

    // The most urgent first, and then the other: both are the only one's who accepts chats.
    assert_eq!(ask(&mut agent, "set_status", json!({ "status": "accepting" })).await, "ok");
    for id in [second, first] {
        comes(&mut agent, id).await;
        boss.find(|frame| {
            is(frame, "conversation_removed", "queue", &frame["payload"]["conversation_id"], id)
        })
        .await;
    }
    let agent_id = json!(desk.world.agents[0]);
    boss.find(|frame| {
        let told = frame["payload"]["agents"].as_array().into_iter().flatten();
        frame["action"] == "presence"
            && told
                .into_iter()
                .any(|told| told["id"] == agent_id && told["status"] == "accepting" && told["load"] == 2)
    })
    .await;
    let online = |client: &Value| client["payload"]["agents"].as_array().unwrap().len();
    let (here, there) =
        (boss.request("list_agents", json!({})).await, agent.request("list_agents", json!({})).await);
    assert_eq!((online(&here), &here["payload"]), (2, &there["payload"]));
    let listed = agent.request("list_conversations", json!({ "view": "mine" })).await;
    assert_eq!(listed["payload"]["total"], 2, "{listed}");
    assert_eq!(ann.push("group_status").await["group_id"], json!(desk.world.group));

    // Visitors of both edges, for staff of both.
    for client in [&mut boss, &mut agent] {
        wait_for(SOON, "both visitors", async || {
            let answer = client.request("list_visitors", json!({})).await;
            let seen = answer["payload"]["visitors"].as_array().unwrap().len();
            if seen == 2 { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
    drop(ann);
    for client in [&mut boss, &mut agent] {
        client
            .find(|frame| {
                let told = frame["payload"]["visitors"].as_array().into_iter().flatten();
                told.into_iter()
                    .any(|told| told["conversation_id"] == json!(first) && told["online"] == false)
            })
            .await;
    }
    outsider.request("ping", json!({})).await;
    let ids = [first.to_string(), second.to_string()];
    assert!(outsider.read.iter().all(|frame| ids.iter().all(|id| !frame.to_string().contains(id))));
}

/// What a client was told that everyone is told, in order.
fn events(client: &Client) -> Vec<Value> {
    let told = client.read.iter().filter(|frame| frame["action"] == "event");
    let events = told.map(|frame| frame["payload"]["event"].clone());
    events.filter(|event| event["visibility"] == "all").collect()
}

#[tokio::test]
async fn the_tabs_of_one_person_on_two_edges_agree() {
    let desk = Desk::open().await;
    let (mut ann, id) = desk.visitor(&desk.one, 1).await;
    let session = desk.world.session(&desk.two, [1; 32], json!({})).await;
    let (mut ann_too, _) = Client::login(desk.two.at, session["token"].as_str().unwrap()).await;
    let mut agent = desk.staff(&desk.one, 0, Role::Agent).await;
    let mut agent_too = desk.staff(&desk.two, 0, Role::Agent).await;
    take(&mut agent, id).await;
    for client in [&mut ann, &mut ann_too] {
        client.event("assigned").await;
    }
    for client in [&mut agent, &mut agent_too] {
        comes(client, id).await;
    }
    for n in 0..10 {
        for (name, client) in [("v", &mut ann), ("w", &mut ann_too), ("a", &mut agent), ("b", &mut agent_too)]
        {
            let said = message(&json!(id), &format!("{name}-{n}"), "Words");
            assert_eq!(ask(client, "send_event", said).await, "ok");
        }
    }
    let last = agent_too.event("message").await["event"]["seq"].clone();
    assert_eq!(ask(&mut ann_too, "mark_read", with(id, json!({ "up_to_seq": last }))).await, "ok");
    assert_eq!(ask(&mut agent_too, "close_thread", about(id)).await, "ok");
    let mut lists = Vec::new();
    for client in [&mut ann, &mut ann_too, &mut agent, &mut agent_too] {
        client.event("closed").await;
        let from = events(client).into_iter().skip_while(|event| event["client_id"] != "v-0");
        lists.push(from.map(|event| event["id"].clone()).collect::<Vec<_>>());
    }
    // 40 messages, one mark, the close.
    assert_eq!(lists[0].len(), 42);
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:#?}");
    for client in [&mut agent, &mut agent_too] {
        goes(client, id).await;
    }
    // What one does to the agent's status, the other is told.
    for (n, status) in ["accepting", "not_accepting"].into_iter().enumerate() {
        let tabs = [&mut agent, &mut agent_too];
        assert_eq!(ask(tabs[n], "set_status", json!({ "status": status })).await, "ok");
        for tab in tabs {
            let is = |told: &Value| told["status"] == status && told["load"] == 0;
            tab.find(|frame| frame["payload"]["agents"].as_array().into_iter().flatten().any(is)).await;
        }
    }
}

/// The visitor was told the place: by the login, where the thread waited before it, or since.
async fn at(visitor: &mut Client, position: u32) {
    let told = |frame: &Value| match frame["action"].as_str() {
        Some("login") => frame["payload"]["conversations"][0]["thread"]["queue"]["position"] == position,
        Some("queue_position") => frame["payload"]["position"] == position,
        _ => false,
    };
    if !visitor.read.iter().any(told) {
        visitor.find(told).await;
    }
}

#[tokio::test]
async fn who_has_more_than_a_login_answers_lists_the_rest() {
    let world = World::new().await;
    let edge = world.edge().await;
    let all = LOGIN_CONVERSATIONS_MAX + 1;
    let sessions =
        (0..all).map(|key| world.session(&edge, [key as u8; 32], json!({ "initial_message": "Hello" })));
    let mut ids = BTreeSet::new();
    for session in join_all(sessions).await {
        let id: ConversationId = session["conversation"]["id"].as_str().unwrap().parse().unwrap();
        world.assign(id, world.agents[0]).await;
        ids.insert(id);
    }
    assert_eq!(ids.len(), all);
    let _router = world.routed().await;
    let id_of = |conv: &Value| conv["id"].as_str().unwrap().parse::<ConversationId>().unwrap();
    let (mut agent, login) = Client::login(edge.at, &world.staff_token(world.agents[0], Role::Agent)).await;
    let told: BTreeSet<_> = login["conversations"].as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(told.len(), LOGIN_CONVERSATIONS_MAX);
    assert!(told.is_subset(&ids));

    let (mut listed, mut pages, mut cursor) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let mut wanted = json!({ "view": "mine", "limit": 40 });
        if !cursor.is_null() {
            wanted["cursor"] = cursor;
        }
        let answer = agent.request("list_conversations", wanted).await["payload"].clone();
        assert_eq!(answer["total"], all, "{answer}");
        let page = answer["conversations"].as_array().unwrap();
        pages.push(page.len());
        listed.extend(page.iter().map(id_of));
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(pages, [40, 40, 21]);
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), ids, "each once: {}", listed.len());
    // What the login left out is the agent's like the others.
    let rest = *ids.difference(&told).next().unwrap();
    assert_eq!(ask(&mut agent, "send_event", message(&json!(rest), "a-1", "Hi")).await, "ok");
}
