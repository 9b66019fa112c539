//! What staff do over HTTP, as those see it who are connected at an edge.

use bus_schema::{
    protocol::{ConfigChanged, ConfigOp},
    state::RoutingStatus,
};
use ops::{client::Options, testing::wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::api::{Api, SOON};

fn accepting(options: &mut Options) {
    options.status = Some(RoutingStatus::Accepting);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_online_are_those_with_a_connection() {
    let api = Api::new().await;
    let ((bob, token), (eve, eves)) = (api.agent("bob", &[]).await, api.agent("eve", &[]).await);
    let online = async || api.get("/v1/agents/online").await.is(200).body;
    assert_eq!(online().await["data"], json!([]));
    let client = api.connect(&token, accepting).await;
    let one = json!([{ "id": bob, "status": "accepting", "load": 0, "capacity": 5 }]);
    api.shows("/v1/agents/online", "the agent to be online", |body| body["data"] == one).await;
    let other = api.connect(&eves, accepting).await;
    api.shows("/v1/agents/online", "both to be online", |body| body["data"].as_array().unwrap().len() == 2)
        .await;
    let first = api.get("/v1/agents/online?limit=1").await.is(200).body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("/v1/agents/online?limit=1&cursor={cursor}")).await.is(200).body;
    let ids = [&first, &second].map(|page| page["data"][0]["id"].as_str().unwrap().to_owned());
    let mut both = [bob.clone(), eve];
    both.sort();
    assert_eq!((ids, &second["next_cursor"]), (both, &json!(null)));
    other.close().await;
    api.shows("/v1/agents/online", "the other to be gone", |body| body["data"] == one).await;
    client.set_status(RoutingStatus::NotAccepting).await.unwrap();
    assert_eq!(online().await["data"][0]["status"], "not_accepting");
    client.close().await;
    api.shows("/v1/agents/online", "the agent to be gone", |body| body["data"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_an_agent_who_is_there_is_theirs() {
    let api = Api::new().await;
    let ((bob, bobs), (eve, eves)) = (api.agent("bob", &[]).await, api.agent("eve", &[]).await);
    let visit = api.visit(&api.widget(None).await, "hello").await;
    api.assign(&visit.conversation, &bob).await;
    let path = |what: &str| format!("/v1/conversations/{}{what}", visit.conversation);
    let client = api.connect(&eves, accepting).await;
    api.call_as(&eves, Method::GET, &path(""), None).await.problem(404, "not_found");
    let body = json!({ "agent_id": eve });
    let moved = api.call_as(&bobs, Method::POST, &path("/transfer"), Some(body)).await.is(200).body;
    let read = path(&format!("?min_seq={}", moved["seq"]));
    let now = api.call_as(&eves, Method::GET, &read, None).await.is(200).body;
    assert_eq!((&now["thread"]["assignee_id"], &now["thread"]["status"]), (&json!(eve), &json!("active")));
    let mine = async |token: &str| {
        api.call_as(token, Method::GET, "/v1/conversations?view=mine&status=active", None).await.is(200)
    };
    assert_eq!(mine(&eves).await.ids(), [visit.conversation.as_str()]);
    // It comes to her over the socket, and she answers there.
    let id = visit.conversation.parse().unwrap();
    wait_for(SOON, "the conversation to be shown to her", async || client.view(id).is_some_and(|v| v.mine))
        .await;
    client.send_text(id, "I am Eve").unwrap().done().await.unwrap();
    let seen = api.edge(&visit.token, Method::GET, &path("/events"), None).await.is(200).body;
    let events = seen["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["data"]["text"], "I am Eve", "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_over_http_reaches_connected_staff_as_config_changed() {
    let api = Api::new().await;
    let (_, token) = api.agent("bob", &[]).await;
    let client = api.connect(&token, |_| ()).await;
    let mut pushes = client.take_pushes().unwrap();
    let mut told = async |entity: &str, id: &str, op: ConfigOp| {
        let next = async {
            loop {
                let push = pushes.recv().await.expect("the client runs");
                if push.action != "config_changed" {
                    continue;
                }
                let changed: ConfigChanged = push.decode().unwrap();
                if (changed.entity.as_str(), changed.id.to_string().as_str(), changed.op) == (entity, id, op)
                {
                    return changed.revision;
                }
            }
        };
        timeout(SOON, next).await.unwrap_or_else(|_| panic!("nobody told of {entity} {id}: {op:?}"))
    };
    for (entity, kind) in [("group", "/v1/groups"), ("tag", "/v1/tags")] {
        let id = api.post(kind, json!({ "name": "Refunds" })).await.is(201).id();
        let made = told(entity, &id, ConfigOp::Put).await;
        api.patch(&format!("{kind}/{id}"), json!({ "name": "Returns" })).await.is(200);
        let changed = told(entity, &id, ConfigOp::Put).await;
        assert!(changed > made, "{entity}: {changed} after {made}");
        api.delete(&format!("{kind}/{id}")).await.is(204);
        told(entity, &id, ConfigOp::Deleted).await;
    }
}

/// The events on a page of either service.
fn events(page: &Value) -> &[Value] {
    let either = ["data", "events"].into_iter().find_map(|name| page[name].as_array());
    either.expect("a page has events")
}

fn texts(page: &Value) -> Vec<String> {
    events(page).iter().filter_map(|event| event["data"]["text"].as_str().map(str::to_owned)).collect()
}

/// Where a page ends that has more beyond it.
fn end(page: &Value, forward: bool) -> u64 {
    let event = if forward { events(page).last() } else { events(page).first() };
    event.expect("a page that has more is not empty")["seq"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_in_pages_both_ways_on_both_services() {
    const PAGES_MAX: usize = 20;
    let api = Api::new().await;
    let visit = api.visit(&api.widget(None).await, "one").await;
    let client = api.connect(&visit.token, |_| ()).await;
    let said = ["one", "two", "three", "four", "five"];
    let mut last = 0;
    for text in &said[1..] {
        let sent = client.send_text(visit.conversation.parse().unwrap(), text).unwrap().done().await.unwrap();
        last = sent.seq;
    }
    let path = format!("/v1/conversations/{}/events", visit.conversation);
    api.get(&format!("{path}?min_seq={last}")).await.is(200);
    let admin = async |query: String| api.get(&format!("{path}{query}")).await.is(200).body;
    let edge = async |query: String| {
        api.edge(&visit.token, Method::GET, &format!("{path}{query}"), None).await.is(200).body
    };
    for (service, forward) in [("admin-api", true), ("admin-api", false), ("edge", true), ("edge", false)] {
        let mut found: Vec<String> = Vec::new();
        let mut at = if forward { 0 } else { last + 1 };
        for turn in 0.. {
            assert!(turn < PAGES_MAX, "{service}: the pages do not end: {found:?}");
            let query = format!("?{}_seq={at}&limit=2", if forward { "after" } else { "before" });
            let page = if service == "edge" { edge(query).await } else { admin(query).await };
            if forward {
                found.extend(texts(&page));
            } else {
                found.splice(0..0, texts(&page));
            }
            if page["has_more"] == false {
                break;
            }
            at = end(&page, forward);
        }
        assert_eq!(found, said, "{service}, forward: {forward}");
    }
    // Not both ways at once; the edge names the field, admin-api the query.
    let both = format!("{path}?after_seq=1&before_seq=9");
    api.get(&both).await.problem(400, "invalid_request");
    api.edge(&visit.token, Method::GET, &both, None).await.problem(422, "invalid_request");
}
