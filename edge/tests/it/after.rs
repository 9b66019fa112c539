//! What people do about a thread beside talking: rate it, tag it, list it, say where they are.

use bus_schema::{
    Event, Subject, TagId, VisitorId,
    claims::Role,
    config::{Record, TagRecord},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::Client,
    signals::{Scene, conversation},
    world::World,
};

fn code(answer: &Value) -> &Value {
    &answer["payload"]["error"]["code"]
}

#[tokio::test]
async fn a_thread_is_rated_once_open_or_closed() {
    let Scene { world, edge: _edge, id, mut visitor, mut tab, mut staff } = Scene::new().await;
    let rate = |more: Value| {
        let mut rate = json!({ "conversation_id": id, "score": 5 });
        rate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rate
    };
    for (wrong, pointer) in [
        (rate(json!({ "score": 0 })), "/payload/score"),
        (rate(json!({ "score": 6 })), "/payload/score"),
        (rate(json!({ "comment": "x".repeat(2_001) })), "/payload/comment"),
        (rate(json!({ "thread_id": Uuid::now_v7() })), "/payload/thread_id"),
    ] {
        let answer = visitor.request("rate", wrong).await;
        assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], pointer, "{answer}");
    }
    world.close(conversation(&id)).await;
    let closed = visitor.event("closed").await["event"]["thread_id"].clone();
    let rated = visitor.request("rate", rate(json!({ "comment": "Thank you" }))).await;
    assert_eq!(rated["success"], true, "{rated}");
    let pushed = tab.event("rated").await;
    assert_eq!(pushed["event"]["data"], json!({ "score": 5, "comment": "Thank you" }));
    assert_eq!(pushed["event"]["thread_id"], closed);
    // The same again is the same, also once another thread is open; another one is refused.
    visitor.request("start_thread", json!({})).await;
    let same = tab.request("rate", rate(json!({ "thread_id": closed, "comment": "Thank you" }))).await;
    assert_eq!(same["payload"]["seq"], rated["payload"]["seq"], "{same}");
    let other = tab.request("rate", rate(json!({ "thread_id": closed, "score": 1 }))).await;
    assert_eq!(code(&other), "already_exists");
    let open = tab.request("rate", rate(json!({ "score": 4 }))).await;
    assert_eq!(open["payload"]["duplicate"], false, "the open thread is another one: {open}");
    assert_eq!(code(&staff.request("rate", rate(json!({}))).await), "forbidden");
}

#[tokio::test]
async fn tags_are_set_once_seen_by_staff_and_told_in_snapshots() {
    let Scene { world, edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let tag = add_tag(&world).await;
    let wanted = json!({ "conversation_id": id, "tag_id": tag });
    ops::testing::wait_for(std::time::Duration::from_secs(10), "the tag to be known", async || {
        staff.request("tag", wanted.clone()).await["success"] == true
    })
    .await;
    assert_eq!(staff.event("tagged").await["event"]["data"]["tag_id"], json!(tag));
    let before = world.log.end().await.unwrap().last;
    assert_eq!(staff.request("tag", wanted.clone()).await["success"], true);
    assert_eq!(world.log.end().await.unwrap().last, before, "it was tagged already");
    let token = world.staff_token(world.agents[0], Role::Agent);
    let (_, login) = Client::login(edge.at, &token).await;
    assert_eq!(login["conversations"][0]["thread"]["tags"], json!([tag]));
    let unknown = json!({ "conversation_id": id, "tag_id": Uuid::now_v7() });
    let answer = staff.request("tag", unknown).await;
    assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], "/payload/tag_id");
    assert_eq!(code(&visitor.request("tag", wanted.clone()).await), "forbidden");
    let (mut outsider, _) = Client::login(edge.at, &world.staff_token(world.agents[2], Role::Agent)).await;
    assert_eq!(code(&outsider.request("tag", wanted.clone()).await), "not_found");
    assert_eq!(staff.request("untag", wanted.clone()).await["success"], true);
    staff.event("untagged").await;
    let (_, login) = Client::login(edge.at, &token).await;
    assert_eq!(login["conversations"][0]["thread"]["tags"], json!([]));
    visitor.request("ping", json!({})).await;
    assert!(visitor.seen().all(|frame| !frame.to_string().contains("tag")), "visitors see no tags");
}

pub async fn add_tag(world: &World) -> TagId {
    let tag_id = TagId::from_uuid(Uuid::now_v7());
    let tenant_id = world.tenant;
    let record =
        TagRecord { tag_id, tenant_id, name: "Urgent".into(), color: None, revision: 1, deleted: false };
    world.put(&Record::Tag(record)).await;
    tag_id
}

#[tokio::test]
async fn a_conversation_lists_its_threads() {
    let Scene { world, edge: _edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    world.close(conversation(&id)).await;
    let closed = visitor.event("closed").await["event"]["thread_id"].clone();
    let next = visitor.request("start_thread", json!({})).await["payload"]["thread"]["id"].clone();
    for client in [&mut visitor, &mut staff] {
        let answer = client.request("list_threads", json!({ "conversation_id": id })).await;
        let threads = answer["payload"]["threads"].as_array().unwrap();
        let ids: Vec<&Value> = threads.iter().map(|thread| &thread["id"]).collect();
        assert_eq!(ids, [&closed, &next]);
        assert_eq!((&threads[0]["status"], &threads[1]["status"]), (&json!("closed"), &json!("queued")));
        assert_eq!(threads[0]["assignee_id"], json!(world.agents[0]));
        assert!(threads[0]["closed_at"].is_string() && threads[0]["close_reason"].is_string());
        assert_eq!(answer["payload"]["has_more"], false);
    }
}

#[tokio::test]
async fn where_a_visitor_is_becomes_history_while_a_thread_is_open() {
    let Scene { world, edge, id: _id, mut visitor, mut staff, .. } = Scene::new().await;
    let page = json!({ "url": "https://shop.example/cart", "title": "Cart" });
    assert_eq!(visitor.request("set_page", page.clone()).await["success"], true);
    let me = VisitorId::from_key(world.tenant, &[1; 32]);
    let subject = Subject::Visitor { shard: world.log.shard(), tenant: world.tenant, visitor: me };
    let last = world.log.last(&subject.to_string()).await.unwrap().unwrap();
    let event = Event::decode(&last.payload).unwrap();
    assert_eq!(event.body.name(), "visitor_seen");
    let record = event.body.visitor_record().unwrap();
    assert_eq!(record.page.as_ref().unwrap().url, "https://shop.example/cart");
    for (wrong, pointer) in [
        (json!({ "url": "javascript:alert(1)" }), "/payload/url"),
        (json!({ "url": "https://shop.example/", "title": "x".repeat(201) }), "/payload/title"),
    ] {
        let answer = visitor.request("set_page", wrong).await;
        assert_eq!(answer["payload"]["error"]["errors"][0]["pointer"], pointer, "{answer}");
    }
    assert_eq!(code(&staff.request("set_page", page.clone()).await), "forbidden");
    // Without a thread a visit leaves nothing.
    let before = world.log.end().await.unwrap().last;
    let silent = world.session(&edge, [2; 32], json!({})).await;
    let (mut silent, _) = Client::login(edge.at, silent["token"].as_str().unwrap()).await;
    assert_eq!(silent.request("set_page", page).await["success"], true);
    assert_eq!(world.log.end().await.unwrap().last, before);
}

#[tokio::test]
async fn a_token_is_renewed_for_the_same_person_and_a_logout_ends_it() {
    let Scene { world, edge, id: _id, mut visitor, .. } = Scene::new().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].clone();
    let answer = visitor.request("refresh_token", json!({ "token": token })).await;
    assert!(answer["payload"]["token_expires_at"].is_string(), "{answer}");
    assert_eq!(visitor.request("logout", json!({})).await["success"], true);
    assert_eq!(visitor.closed().await, crate::client::Got::Closed(1000));
}
