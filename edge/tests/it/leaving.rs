//! An edge that is stopped sends its clients elsewhere, and loses nothing.

use serde_json::json;

use crate::{
    client::{Client, Got, message},
    world::World,
};

#[tokio::test]
async fn a_stop_tells_answers_and_closes_every_client() {
    let world = World::new().await;
    let (one, two) = (world.edge().await, world.edge().await);
    let session = world.session(&one, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let conversation = session["conversation"]["id"].clone();
    let (mut client, login) = Client::login(one.at, token).await;
    let cursor = login["conversations"][0]["cursor"].clone();
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..10 {
            let send = message(&conversation, &format!("m-{n}"), "x");
            ids.push(client.send("send_event", send).await);
        }
        ids
    };
    let first = client.answer(&ids[0]).await;
    assert_eq!(first["success"], true);
    let stopping = tokio::spawn(one.stop());
    let closing = client.push("closing").await;
    assert_eq!((&closing["reason"], &closing["reconnect"]), (&json!("shutdown"), &json!(true)));
    for id in &ids[1..] {
        assert_eq!(client.answer(id).await["success"], true, "what was asked is answered");
    }
    assert_eq!(client.closed().await, Got::Closed(3000));
    stopping.await.unwrap();
    let resume = json!({ "resume": [{ "conversation_id": conversation, "cursor": cursor }] });
    let (mut again, _) = Client::login_with(two.at, token, resume).await;
    for n in 0..10 {
        assert_eq!(again.event("message").await["event"]["client_id"], format!("m-{n}"));
    }
    again.push("caught_up").await;
}
