//! Files, from either side to the other.

use bus_schema::{
    ErrorCode,
    protocol::{Action, AttachmentLink},
};
use ops::client::{Client, new_client_id};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Api, Visit};

/// Uploads a text and sends it; gives its attachment's id.
async fn send_file(api: &Api, token: &str, client: &Client, visit: &Visit, name: &str, text: &str) -> String {
    let uploaded = api.upload(token, &visit.conversation, name, text).await.is(201).body;
    let mut file = uploaded.clone();
    file.as_object_mut().unwrap().remove("expires_at");
    let client_id = new_client_id();
    let event = json!({ "kind": "file", "client_id": client_id, "data": file }).to_string();
    let conversation = visit.conversation.parse().unwrap();
    client.send_json(conversation, None, client_id, event.into()).unwrap().done().await.unwrap();
    uploaded["attachment_id"].as_str().unwrap().to_owned()
}

fn shows_file(page: &Value, attachment: &str) -> bool {
    let events = ["data", "events"].iter().find_map(|name| page[*name].as_array()).unwrap();
    events.iter().any(|event| event["kind"] == "file" && event["data"]["attachment_id"] == attachment)
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_go_both_ways_and_are_fetched_by_signed_links() {
    let api = Api::new().await;
    let (bob, token) = api.agent("bob", &[]).await;
    let widget = api.widget(None).await;
    let (visit, stranger) = (api.visit(&widget, "hello").await, api.visit(&widget, "hi").await);
    api.assign(&visit.conversation, &bob).await;
    let (visitor, agent) = (api.connect(&visit.token, |_| ()).await, api.connect(&token, |_| ()).await);
    let stranger = api.connect(&stranger.token, |_| ()).await;
    let events = format!("/v1/conversations/{}/events", visit.conversation);
    for from_visitor in [true, false] {
        let (token, from, to, name) = match from_visitor {
            true => (&visit.token, &visitor, &agent, "parcel.txt"),
            false => (&token, &agent, &visitor, "label.txt"),
        };
        let text = format!("what {name} says");
        let attachment = send_file(&api, token, from, &visit, name, &text).await;
        if from_visitor {
            api.shows(&events, "the visitor's file", |page| shows_file(page, &attachment)).await;
        } else {
            let page = api.edge(&visit.token, Method::GET, &events, None).await.is(200).body;
            assert!(shows_file(&page, &attachment), "{page}");
        }
        let asked = json!({ "attachment_id": attachment });
        let link: AttachmentLink = to.request(Action::GetAttachment, &asked).await.unwrap();
        let fetched = api.send(api.http.get(&link.url)).await.is(200);
        assert_eq!(fetched.body, text.as_str());
        let disposition = fetched.header("content-disposition");
        assert!(disposition.starts_with("attachment") && disposition.contains(name), "{disposition}");
        // The link is to this file and no other, and not for everybody.
        let other = link.url.replace(&attachment, &Uuid::now_v7().to_string());
        api.send(api.http.get(other)).await.problem(403, "forbidden");
        let refused = stranger.request::<AttachmentLink>(Action::GetAttachment, &asked).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::NotFound), "{refused}");
    }
}
