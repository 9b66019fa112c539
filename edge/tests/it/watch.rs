//! Following conversations that are not one's own, and those that become it elsewhere.

use std::sync::{Arc, Mutex};

use bus_schema::{
    ConversationId, GroupId,
    claims::Role,
    command::{Answer, Command, Outcome, View},
    config::{GroupRecord, Record},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, message},
    world::{Edge, World},
};

async fn talk(world: &World, edge: &Edge) -> (Client, ConversationId) {
    let session = world.session(edge, [1; 32], json!({ "initial_message": "Hello?" })).await;
    let (visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    (visitor, session["conversation"]["id"].as_str().unwrap().parse().unwrap())
}

async fn other_group(world: &World) -> GroupId {
    let group_id = GroupId::from_uuid(Uuid::now_v7());
    let record = GroupRecord { revision: 2, ..GroupRecord::new(world.tenant, group_id) };
    world.put(&Record::Group(record)).await;
    group_id
}

fn of(conversation: ConversationId) -> Value {
    json!({ "conversation_id": conversation })
}

fn note(conversation: ConversationId, client_id: &str, visibility: &str) -> Value {
    let data = json!({ "text": "Look at this" });
    let event = json!({ "kind": "message", "client_id": client_id, "visibility": visibility, "data": data });
    json!({ "conversation_id": conversation, "event": event })
}

#[tokio::test]
async fn a_watcher_sees_all_is_seen_by_nobody_and_may_only_leave_notes() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (mut visitor, conversation) = talk(&world, &edge).await;
    world.assign(conversation, world.agents[0]).await;
    visitor.event("assigned").await;
    let (mut watcher, login) = Client::login(edge.at, &world.staff_token(world.agents[1], Role::Agent)).await;
    assert_eq!(login["conversations"], json!([]));

    assert_eq!(watcher.request("watch", of(conversation)).await["success"], true);
    let available = watcher.push("conversation_available").await;
    assert_eq!((&available["view"], &available["conversation"]["unread"]), (&json!("mine"), &json!(0)));
    assert_eq!(available["conversation"]["events"][0]["kind"], "started");
    assert!(available["conversation"]["cursor"].is_string());

    visitor.request("send_event", message(&json!(conversation), "v-1", "A hat?")).await;
    let said = watcher.event("message").await["event"].clone();
    assert_eq!(said["data"]["text"], "A hat?");
    // Its marks are its own, and no events.
    let before = world.log.end().await.unwrap().last;
    for action in ["mark_delivered", "mark_read"] {
        let mark = json!({ "conversation_id": conversation, "up_to_seq": said["seq"] });
        assert_eq!(watcher.request(action, mark).await["success"], true);
    }
    assert_eq!(world.log.end().await.unwrap().last, before, "a watcher's marks write nothing");
    let refused = watcher.request("send_event", note(conversation, "w-1", "all")).await;
    assert_eq!(refused["payload"]["error"]["code"], "not_participant");
    assert_eq!(watcher.request("send_event", note(conversation, "w-2", "agents")).await["success"], true);

    assert_eq!(watcher.request("unwatch", of(conversation)).await["success"], true);
    assert_eq!(
        watcher.push("conversation_removed").await,
        json!({ "view": "mine", "conversation_id": conversation })
    );
    visitor.request("send_event", message(&json!(conversation), "v-2", "Still there?")).await;
    visitor.event("message").await;
    visitor.event("message").await;
    assert!(visitor.seen().all(|frame| !frame.to_string().contains("Look at this")));
    let marked =
        |frame: &Value| ["delivered", "read"].iter().any(|kind| frame["payload"]["event"]["kind"] == *kind);
    assert!(!visitor.seen().any(marked), "nobody sees that somebody follows");
    watcher.request("ping", json!({})).await;
    assert!(watcher.seen().all(|frame| frame["payload"]["event"]["data"]["text"] != "Still there?"));
}

#[tokio::test]
async fn agents_watch_only_what_they_may_see_and_supervisors_all() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (_visitor, conversation) = talk(&world, &edge).await;
    let outsider = world.agents[2];
    let (mut agent, _) = Client::login(edge.at, &world.staff_token(outsider, Role::Agent)).await;
    let (mut supervisor, _) = Client::login(edge.at, &world.staff_token(outsider, Role::Supervisor)).await;
    let nowhere = ConversationId::from_uuid(Uuid::now_v7());
    for target in [conversation, nowhere] {
        let refused = agent.request("watch", of(target)).await;
        assert_eq!(refused["payload"]["error"]["code"], "not_found", "{target}");
    }
    assert_eq!(supervisor.request("watch", of(conversation)).await["success"], true);
    let available = supervisor.push("conversation_available").await;
    assert_eq!(available["conversation"]["id"], json!(conversation));
    agent.request("ping", json!({})).await;
    assert!(agent.seen().all(|frame| frame["action"] != "conversation_available"));
}

#[tokio::test]
async fn a_watch_ends_with_the_right_to_it_and_not_with_the_thread() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (mut visitor, conversation) = talk(&world, &edge).await;
    let (mut watcher, _) = Client::login(edge.at, &world.staff_token(world.agents[1], Role::Agent)).await;
    watcher.request("watch", of(conversation)).await;
    watcher.push("conversation_available").await;
    let others = other_group(&world).await;
    world.hand_on(conversation, others, Vec::new()).await;
    assert_eq!(watcher.event("transferred").await["conversation_id"], json!(conversation));
    watcher.push("conversation_removed").await;
    visitor.event("transferred").await;
    visitor.request("send_event", message(&json!(conversation), "v-1", "Secret")).await;
    let refused = watcher.request("watch", of(conversation)).await;
    assert_eq!(refused["payload"]["error"]["code"], "not_found");
    assert!(watcher.seen().all(|frame| !frame.to_string().contains("Secret")));
    // Back in their group, it can be watched until it is closed and beyond.
    world.hand_on(conversation, world.group, Vec::new()).await;
    watcher.request("watch", of(conversation)).await;
    watcher.push("conversation_available").await;
    world.close(conversation).await;
    watcher.event("closed").await;
    watcher.request("ping", json!({})).await;
    assert!(watcher.seen().all(|frame| frame["action"] != "conversation_removed"));
}

#[tokio::test]
async fn a_watch_ends_when_the_group_loses_the_member() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (_visitor, conversation) = talk(&world, &edge).await;
    let (mut watcher, _) = Client::login(edge.at, &world.staff_token(world.agents[1], Role::Agent)).await;
    watcher.request("watch", of(conversation)).await;
    watcher.push("conversation_available").await;
    let record = GroupRecord { revision: 2, ..GroupRecord::new(world.tenant, world.group) };
    world.put(&Record::Group(record)).await;
    assert_eq!(watcher.push("conversation_removed").await["conversation_id"], json!(conversation));
}

#[tokio::test]
async fn a_watch_is_resumed_on_another_edge() {
    let world = World::new().await;
    let (one, two) = (world.edge().await, world.edge().await);
    let (mut visitor, conversation) = talk(&world, &one).await;
    let token = world.staff_token(world.agents[1], Role::Agent);
    let (mut watcher, _) = Client::login(one.at, &token).await;
    watcher.request("watch", of(conversation)).await;
    let cursor = watcher.push("conversation_available").await["conversation"]["cursor"].clone();
    drop(watcher);
    visitor.request("send_event", message(&json!(conversation), "v-1", "Missed")).await;
    let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
    let (mut watcher, login) = Client::login_with(two.at, &token, resume).await;
    assert_eq!(login["conversations"][0]["id"], json!(conversation));
    assert_eq!(watcher.event("message").await["event"]["data"]["text"], "Missed");
    let cursor = watcher.push("caught_up").await["cursor"].clone();
    assert_eq!(watcher.request("unwatch", of(conversation)).await["success"], true);
    watcher.push("conversation_removed").await;
    drop(watcher);
    // Where it may not be seen any more, it is gone.
    let others = other_group(&world).await;
    world.hand_on(conversation, others, Vec::new()).await;
    let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
    let (mut watcher, login) = Client::login_with(one.at, &token, resume).await;
    assert_eq!(login["conversations"], json!([]));
    assert_eq!(watcher.push("conversation_removed").await["conversation_id"], json!(conversation));
}

#[tokio::test]
async fn what_an_agent_joins_arrives_on_every_connection_and_goes_when_left() {
    let world = World::new().await;
    let mine = Arc::new(Mutex::new(Vec::new()));
    let listed = mine.clone();
    let _commands = world
        .answer_with(move |request| match &request.command {
            Command::ListConversations { view: View::Mine, .. } => {
                let conversations: Vec<_> = listed.lock().unwrap().clone();
                let (total, at) = (conversations.len() as u64, crate::world::now());
                let answer = Answer::Conversations { conversations, next_cursor: None, total, at };
                Some(Outcome::Accepted { answer })
            }
            _ => None,
        })
        .await;
    let (one, two) = (world.edge().await, world.edge().await);
    let (_visitor, conversation) = talk(&world, &one).await;
    world.assign(conversation, world.agents[0]).await;
    let joiner = world.agents[1];
    let token = world.staff_token(joiner, Role::Agent);
    let (mut first, _) = Client::login(one.at, &token).await;
    let (mut second, _) = Client::login(one.at, &token).await;
    world.take_part(conversation, vec![joiner]).await;
    let before = world.view(conversation).await;
    mine.lock().unwrap().push(before);
    assert_eq!(first.request("join", of(conversation)).await["success"], true);
    for client in [&mut first, &mut second] {
        let available = client.push("conversation_available").await;
        assert_eq!(available["conversation"]["id"], json!(conversation));
    }
    // A login elsewhere finds it by the router's word.
    let (mut third, login) = Client::login(two.at, &token).await;
    assert_eq!(login["conversations"][0]["id"], json!(conversation));
    let sent = second.request("send_event", message(&json!(conversation), "a-1", "I am here, too")).await;
    assert_eq!(sent["success"], true, "{sent}");
    assert_eq!(third.event("message").await["event"]["data"]["text"], "I am here, too");
    world.close(conversation).await;
    for client in [&mut first, &mut second, &mut third] {
        client.event("closed").await;
        client.push("conversation_removed").await;
    }
}
