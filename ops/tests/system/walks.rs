//! Walks that a newcomer takes: the README's, and the one that seed system 000 documents.

use std::{fs, path::Path, time::Duration};

use bus_schema::protocol::{WidgetSession, WidgetSessionAnswer};
use ops::{
    client::Http,
    testing::{Scratch, wait_for},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    staff::{Admin, PASSWORD},
    world::{Shape, World},
};

/// The WebSocket command line that the README names, pinned.
const WEBSOCKETS: &str = "websockets==17.4";

/// The code blocks of the README's walk as one script.
fn readme_walk() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let walk = readme.split("<!-- walk").nth(1).and_then(|rest| rest.split("<!-- /walk").next()).unwrap();
    let blocks = walk.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    std::iter::once("set -eu\n").chain(blocks).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn readme_walk_does_what_it_says() {
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &[]).await;
    let dir = Scratch::new("walk").unwrap();
    let library = dir.path().join("python");
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
    let pip = Command::new("python3").args(install).arg(&library).arg(WEBSOCKETS).output().await.unwrap();
    assert!(pip.status.success(), "pip install {WEBSOCKETS}: {}", String::from_utf8_lossy(&pip.stderr));

    let script = dir.path().join("walk.sh");
    fs::write(&script, readme_walk()).unwrap();
    let walk = Command::new("sh")
        .arg(&script)
        .current_dir(dir.path())
        .env("CHATBUS_DATA", world.data())
        .env("PYTHONPATH", &library)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&walk.stdout);
    assert!(walk.status.success(), "{said}{}", String::from_utf8_lossy(&walk.stderr));
    for part in [
        "message Is anybody there?",
        "assigned",
        "message Yes! How can I help?",
        "message Thank you!",
        "closed",
        "\"rule\":\"least_loaded\"",
        "conversation_available",
    ] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
}

/// Log in, open a widget session with a message and a group, assign, post an event to the thread, assign to another:
/// each step is visible in the conversation's events, which come from Postgres. As in seed system 000, whose threads end
/// when they change hands, with `thread_per_assignment`.
#[tokio::test(flavor = "multi_thread")]
async fn seed_000_walk_ends_in_postgres_step_by_step() {
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &[]).await;
    let admin = Admin::login(&world).await;
    let http = Http::new().unwrap();
    let setting = json!({"thread_per_assignment": true});
    let tenant = format!("{}/v1/tenant", admin.url);
    let tenant: Value = http.call(Method::PATCH, &tenant, Some(&admin.token), Some(&setting)).await.unwrap();
    assert_eq!(tenant["thread_per_assignment"], true, "{tenant}");
    // Made after the setting: a router that knows her knows it.
    let eve = json!({
        "email": "eve@test.com", "name": "Eve", "role": "agent", "group_ids": [admin.group], "password": PASSWORD,
    });
    let eve: Value = http.post(&format!("{}/v1/agents", admin.url), &admin.token, &eve).await.unwrap();
    let session = WidgetSession {
        name: Some("Test Visitor".to_owned()),
        email: Some("visitor@test.com".to_owned()),
        group_id: Some(admin.group),
        ..world.session()
    };
    let opened: WidgetSessionAnswer = http.widget_session(&world.edge_urls(), 0, &session).await.unwrap();
    let conversation = opened.conversation.unwrap();
    let thread = conversation.thread.as_ref().unwrap();
    assert_eq!(thread.group_id, Some(admin.group));
    let url = format!("{}/v1/conversations/{}", admin.url, conversation.id);
    visible(&admin, &url, &[("started", None), ("message", Some("Hello!"))]).await;

    let agents: Value = http.get(&format!("{}/v1/agents", admin.url), &admin.token).await.unwrap();
    let is_staff = |agent: &&Value| agent["email"] == world.var("CHATBUS_AGENT_EMAIL");
    let agent = &agents["data"].as_array().unwrap().iter().find(is_staff).unwrap()["id"];
    let assign = async |to: &Value| {
        wait_for(Duration::from_secs(10), "the router to know the agent", async || {
            let body = json!({"agent_id": to});
            http.post::<_, Value>(&format!("{url}/assign"), &admin.token, &body)
                .await
                .map_err(|error| error.to_string())
        })
        .await
    };
    assign(agent).await;
    visible(&admin, &url, &[("assigned", None)]).await;
    let now: Value = http.get(&url, &admin.token).await.unwrap();
    assert_eq!(now["thread"]["assignee_id"], *agent, "{now}");

    let login = async |email: &str, password: &str| {
        http.staff_login(&admin.url, email, password).await.unwrap().tokens.access_token
    };
    let staff = login(&world.var("CHATBUS_AGENT_EMAIL"), &world.var("CHATBUS_AGENT_PASSWORD")).await;
    let events = format!("{}/v1/threads/{}/events", admin.url, thread.id);
    let said = json!({"author_type": "agent", "content": "Hello! How can I help?"});
    let _: Value = http.post(&events, &staff, &said).await.unwrap();
    visible(&admin, &url, &[("message", Some("Hello! How can I help?"))]).await;

    let lie = json!({"author_type": "visitor", "content": "It was not me"});
    let refused = http.post::<_, Value>(&events, &staff, &lie).await.unwrap_err();
    assert_eq!(refused.code(), Some("forbidden"), "{refused}");

    // Another agent gets another thread, in one step; what names the one before is said in the next.
    let moved = assign(&eve["id"]).await;
    let next = moved["thread_id"].as_str().unwrap();
    assert_ne!(next, thread.id.to_string());
    let read = format!("{url}/threads?min_seq={}", moved["seq"]);
    let threads: Value = http.get(&read, &admin.token).await.unwrap();
    let (first, second) = (&threads["data"][0], &threads["data"][1]);
    assert_eq!(
        (&first["status"], &first["close_reason"]),
        (&json!("closed"), &json!("reassigned")),
        "{threads}"
    );
    assert_eq!(
        (&second["id"], &second["previous_thread_id"]),
        (&json!(next), &json!(thread.id)),
        "{threads}"
    );
    let eve = login("eve@test.com", PASSWORD).await;
    let more = json!({"author_type": "agent", "content": "I am Eve."});
    let stored: Value = http.post(&events, &eve, &more).await.unwrap();
    assert_eq!(stored["thread_id"], next, "{stored}");
    visible(&admin, &url, &[("closed", None), ("message", Some("I am Eve."))]).await;
    let gone = http.post::<_, Value>(&events, &staff, &said).await.unwrap_err();
    assert_eq!(gone.code(), Some("not_participant"), "{gone}");

    let closed: Value = http.post(&format!("{url}/close"), &admin.token, &json!({})).await.unwrap();
    let read = format!("{url}/threads?min_seq={}", closed["seq"]);
    let threads: Value = http.get(&read, &admin.token).await.unwrap();
    assert_eq!(threads["data"][1]["status"], "closed", "{threads}");
    let late = http.post::<_, Value>(&events, &eve, &said).await.unwrap_err();
    assert_eq!(late.code(), Some("thread_closed"), "{late}");
}

/// Waits until the conversation's events hold these kinds and texts.
async fn visible(admin: &Admin, url: &str, expected: &[(&str, Option<&str>)]) {
    let events = format!("{url}/events");
    wait_for(Duration::from_secs(10), &format!("{expected:?} to be visible"), async || {
        let page: Value = admin.http.get(&events, &admin.token).await.map_err(|error| error.to_string())?;
        let listed = page["data"].as_array().ok_or("no data")?;
        let is_there = |(kind, text): &(&str, Option<&str>)| {
            listed
                .iter()
                .any(|event| event["kind"] == *kind && text.is_none_or(|text| event["data"]["text"] == text))
        };
        if expected.iter().all(is_there) { Ok(()) } else { Err(page.to_string()) }
    })
    .await;
}
