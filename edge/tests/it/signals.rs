//! What is told and never stored: typing, previews, places in a queue, changed names.

use std::time::Duration;

use bus_schema::{ConversationId, claims::Role, signal::Signal};
use ops::testing::wait_for;
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    world::{Edge, World},
};

/// A visitor with two tabs, and an agent who has their conversation.
pub struct Scene {
    pub world: World,
    pub edge: Edge,
    pub id: Value,
    pub visitor: Client,
    pub tab: Client,
    pub staff: Client,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// At an edge with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let world = World::new().await;
        let edge = world.edge_with(settings).await;
        let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
        let id = session["conversation"]["id"].clone();
        world.assign(conversation(&id), world.agents[0]).await;
        let token = session["token"].as_str().unwrap();
        let (visitor, _) = Client::login(edge.at, token).await;
        let (tab, _) = Client::login(edge.at, token).await;
        let (staff, _) = Client::login(edge.at, &world.staff_token(world.agents[0], Role::Agent)).await;
        Self { world, edge, id, visitor, tab, staff }
    }
}

pub fn conversation(id: &Value) -> ConversationId {
    id.as_str().unwrap().parse().unwrap()
}

fn signals(client: &Client) -> usize {
    client.seen().filter(|frame| frame["action"] == "signal").count()
}

#[tokio::test]
async fn typing_is_told_to_the_others_and_never_to_ones_own_connections() {
    let Scene { world, edge: _edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let before = world.log.end().await.unwrap().last;
    let answer = visitor.request("typing", json!({ "conversation_id": id, "on": true })).await;
    assert_eq!(answer["success"], true, "{answer}");
    let push = staff.push("signal").await;
    assert_eq!(push["conversation_id"], id);
    assert_eq!(
        (&push["kind"], &push["on"], &push["expires_ms"]),
        (&json!("typing"), &json!(true), &json!(6000))
    );
    assert_eq!(push["author"]["type"], "visitor");
    assert!(push.get("text").is_none());
    staff.request("typing", json!({ "conversation_id": id, "on": true })).await;
    for client in [&mut visitor, &mut tab] {
        assert_eq!(client.push("signal").await["author"]["type"], "agent");
    }
    // What comes after a signal on the same way shows that nothing else came before it.
    staff.request("send_event", message(&id, "a-1", "Hi")).await;
    for client in [&mut visitor, &mut tab, &mut staff] {
        client.event("message").await;
        assert_eq!(signals(client), 0, "nobody hears themselves");
    }
    assert_eq!(world.log.end().await.unwrap().last, before + 1, "no signal is stored");
}

#[tokio::test]
async fn previews_reach_staff_at_most_once_a_second_and_the_latest_wins() {
    let Scene { world: _world, edge: _edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let text = |n: usize| "x".repeat(n);
    for n in 1..=30 {
        let preview = json!({ "conversation_id": id, "text": text(n) });
        assert_eq!(visitor.request("preview", preview).await["success"], true);
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&text(30)) {
        seen.push(staff.push("signal").await["text"].as_str().unwrap().to_owned());
    }
    assert!(seen.len() <= 4, "30 within a moment became {}", seen.len());
    assert_eq!(seen[0], text(1));
    staff.request("send_event", message(&id, "a-1", "Hi")).await;
    for client in [&mut visitor, &mut tab] {
        client.event("message").await;
        assert_eq!(signals(client), 0, "previews are for staff alone");
    }
    let forbidden = staff.request("preview", json!({ "conversation_id": id, "text": "x" })).await;
    assert_eq!(forbidden["payload"]["error"]["code"], "forbidden");
}

#[tokio::test]
async fn whoever_takes_no_part_tells_nothing() {
    let Scene { world, edge, id, mut visitor, .. } = Scene::new().await;
    for (agent, code) in [(world.agents[1], "not_participant"), (world.agents[2], "not_found")] {
        let (mut other, _) = Client::login(edge.at, &world.staff_token(agent, Role::Agent)).await;
        for (action, more) in [("typing", json!({ "on": true })), ("mark_read", json!({ "up_to_seq": 1 }))] {
            let mut payload = json!({ "conversation_id": id });
            payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = other.request(action, payload).await;
            assert_eq!(answer["payload"]["error"]["code"], code, "{action} {answer}");
        }
    }
    world.close(conversation(&id)).await;
    visitor.event("closed").await;
    let answer = visitor.request("typing", json!({ "conversation_id": id, "on": true })).await;
    assert_eq!(answer["payload"]["error"]["code"], "thread_closed");
}

#[tokio::test]
async fn the_place_in_the_queue_is_told_to_the_visitor_and_kept_for_the_next_look() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let id = session["conversation"]["id"].clone();
    let token = session["token"].as_str().unwrap();
    let (mut visitor, _) = Client::login(edge.at, token).await;
    let place = Signal::QueuePosition { conversation_id: conversation(&id), position: 3, wait_s: Some(90) };
    let subject = world.home(conversation(&id)).signals();
    world.bus.client.publish(subject, serde_json::to_vec(&place).unwrap().into()).await.unwrap();
    let push = visitor.push("queue_position").await;
    assert_eq!(push, json!({ "conversation_id": id, "position": 3, "wait_s": 90 }));
    let (_tab, login) = Client::login(edge.at, token).await;
    assert_eq!(login["conversations"][0]["thread"]["queue"], json!({ "position": 3, "wait_s": 90 }));
}

#[tokio::test]
async fn a_new_name_is_told_to_whoever_has_met_the_visitor() {
    let Scene { world: _world, edge: _edge, id: _id, mut visitor, mut staff, .. } = Scene::new().await;
    let change = json!({ "name": "Ada", "email": "ada@example.com", "custom": { "plan": "pro" } });
    let answer = visitor.request("update_visitor", change).await;
    assert_eq!(
        (&answer["payload"]["name"], &answer["payload"]["email"]),
        (&json!("Ada"), &json!("ada@example.com"))
    );
    let push = staff.push("person").await;
    assert_eq!((&push["person"]["type"], &push["person"]["name"]), (&json!("visitor"), &json!("Ada")));
    assert!(!push.to_string().contains("example.com"));
    let wrong = visitor.request("update_visitor", json!({ "email": "x" })).await;
    assert_eq!(wrong["payload"]["error"]["errors"][0]["pointer"], "/payload/email");
}

#[tokio::test]
async fn signals_of_one_edge_are_heard_at_another() {
    let Scene { world, edge: _edge, id, mut visitor, .. } = Scene::new().await;
    let far = world.edge().await;
    let (mut staff, _) = Client::login(far.at, &world.staff_token(world.agents[0], Role::Agent)).await;
    wait_for(Duration::from_secs(10), "a signal to come across", async || {
        visitor.request("typing", json!({ "conversation_id": id, "on": true })).await;
        staff.request("ping", json!({})).await;
        signals(&staff) > 0
    })
    .await;
}
