//! Tokens that must not count, on the socket and over HTTP.

use std::time::Duration;

use ops::auth::forged;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    client::{Client, Got, login},
    http,
    world::World,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_a_token_says_about_itself_opens_no_socket() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (staff, _) = world.staff_session();
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let visitor = session["token"].as_str().unwrap();
    let conversation = format!("/v1/conversations/{}", session["conversation"]["id"].as_str().unwrap());
    assert_eq!(http::get_as(edge.at, &conversation, visitor).await.status, 200);
    for (key, good) in [(&world.staff_key, staff.as_str()), (&world.visitor_key, visitor)] {
        Client::login(edge.at, good).await;
        for case in forged(key, good) {
            let name = case.name;
            let mut client = Client::connect(edge.at, None).await.unwrap();
            let answer = client.request("login", login(&case.token, json!({}))).await;
            assert_eq!(answer["success"], false, "{name}");
            assert_eq!(answer["payload"]["error"]["code"], "unauthenticated", "{name}: {answer:#}");
            let closed = timeout(PATIENCE, client.closed()).await.unwrap();
            // One that ended is refreshed; any other will never count.
            let wanted = if case.name == "expired" { 3005 } else { 3501 };
            assert_eq!(closed, Got::Closed(wanted), "{name}");
            let got = http::get_as(edge.at, &conversation, &case.token).await;
            assert_eq!(got.problem(), (401, "unauthenticated"), "{name}");
        }
    }
    // A token for one thing is none for another.
    let (mut client, _) = Client::login(edge.at, visitor).await;
    let refreshed = client.request("refresh_token", json!({ "token": staff })).await;
    assert_eq!(refreshed["success"], Value::Bool(false));
}
