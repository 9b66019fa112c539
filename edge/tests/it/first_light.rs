//! A visitor and an agent talk over two edges.

use bus_schema::claims::Role;
use serde_json::json;

use crate::{
    client::{Client, message},
    world::World,
};

#[tokio::test]
async fn a_visitor_and_an_agent_talk_over_two_edges() {
    let world = World::new().await;
    let (one, two) = (world.edge().await, world.edge().await);
    let session = world.session(&one, [1; 32], json!({ "name": "Vera", "initial_message": "Hello?" })).await;
    let conversation = session["conversation"]["id"].clone();
    assert_eq!(session["conversation"]["thread"]["status"], "queued");
    assert_eq!(session["conversation"]["events"][1]["data"]["text"], "Hello?");

    let (mut visitor, login) = Client::login(one.at, session["token"].as_str().unwrap()).await;
    assert_eq!(login["profile"]["name"], "Vera");
    assert_eq!(login["conversations"][0]["id"], conversation);
    assert_eq!(login["conversations"][0]["events"].as_array().unwrap().len(), 2);

    let agent = world.agents[0];
    let (mut staff, login) = Client::login(two.at, &world.staff_token(agent, Role::Agent)).await;
    assert_eq!((&login["profile"]["name"], &login["conversations"]), (&json!("Agent 0"), &json!([])));
    world.assign(conversation.as_str().unwrap().parse().unwrap(), agent).await;

    let available = staff.push("conversation_available").await;
    assert_eq!((&available["view"], &available["conversation"]["id"]), (&json!("mine"), &conversation));
    assert_eq!(available["people"][0]["name"], "Vera");
    let assigned = visitor.event("assigned").await;
    assert_eq!(assigned["event"]["data"]["state"]["status"], "active");

    let answer = staff.request("send_event", message(&conversation, "a-1", "Good day")).await;
    assert_eq!(answer["success"], true, "{answer}");
    let push = visitor.event("message").await;
    assert_eq!(push["event"]["seq"], answer["payload"]["seq"]);
    assert_eq!(
        push["people"][0],
        json!({ "type": "agent", "id": agent.to_string(), "name": "Agent 0",
        "avatar_url": null, "job_title": "Helper" })
    );
    let answer = visitor.request("send_event", message(&conversation, "v-1", "I want a hat")).await;
    assert_eq!(answer["payload"]["duplicate"], false);
    let again = visitor.request("send_event", message(&conversation, "v-1", "I want a hat")).await;
    assert_eq!(again["payload"]["seq"], answer["payload"]["seq"]);
    assert_eq!(again["payload"]["duplicate"], true);
    assert_eq!(staff.event("message").await["event"]["data"]["text"], "Good day");
    assert_eq!(staff.event("message").await["event"]["data"]["text"], "I want a hat");

    let page = visitor.request("list_events", json!({ "conversation_id": conversation, "limit": 2 })).await;
    assert_eq!(page["payload"]["events"][1]["data"]["text"], "I want a hat");
    assert_eq!(page["payload"]["has_more"], true);

    world.close(conversation.as_str().unwrap().parse().unwrap()).await;
    assert_eq!(visitor.event("closed").await["event"]["data"]["reason"], "resolved");
    assert_eq!(staff.event("closed").await["event"]["data"]["reason"], "resolved");
    staff.push("conversation_removed").await;
    let answer = visitor.request("send_event", message(&conversation, "v-2", "Thanks")).await;
    assert_eq!(answer["payload"]["error"]["code"], "thread_closed");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_conversation_that_begins_in_one_tab_arrives_whole_in_the_other() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let token = session["token"].as_str().unwrap();
    let (mut one, login) = Client::login(edge.at, token).await;
    assert_eq!(login["conversations"], json!([]));
    let (mut two, _) = Client::login(edge.at, token).await;
    // Whoever has this answer is past the end of its login.
    assert_eq!(two.request("ping", json!({})).await["success"], true);
    let event = json!({ "kind": "message", "client_id": "v-1", "data": { "text": "Hello?" } });
    let answer = one.request("start_thread", json!({ "initial_event": event })).await;
    assert_eq!(answer["success"], true, "{answer}");
    let available = two.push("conversation_available").await;
    let conversation = &available["conversation"];
    assert_eq!((&available["view"], &conversation["id"]), (&json!("mine"), &answer["payload"]["id"]));
    assert_eq!(conversation["events"][0]["kind"], "started");
    assert!(conversation["cursor"].is_string());
    assert!(two.seen().all(|frame| frame["action"] != "event"), "the snapshot comes first");
}

#[tokio::test]
async fn who_says_their_name_with_the_thread_open_is_known_by_it() {
    let world = World::new().await;
    let edge = world.edge().await;
    let first = json!({ "initial_message": "Hello?", "initial_client_id": "v-1" });
    let session = world.session(&edge, [1; 32], first).await;
    assert_eq!(session["visitor"]["name"], json!(null));
    let named = json!({ "name": "Vera", "initial_message": "Anyone?", "initial_client_id": "v-2" });
    let session = world.session(&edge, [1; 32], named).await;
    assert_eq!(session["visitor"]["name"], "Vera");
    assert_eq!(session["conversation"]["visitor"]["name"], "Vera");
    let (mut client, login) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    assert_eq!(login["profile"]["name"], "Vera");
    let start = json!({ "visitor": { "email": "vera@mail.example" } });
    let answer = client.request("start_thread", start).await;
    assert_eq!(answer["payload"]["visitor"]["email"], "vera@mail.example", "{answer}");
}
