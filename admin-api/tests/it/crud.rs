//! Tags, canned responses, action templates: the same mechanism, each with values of its own.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Person, World};

/// What can be made under a path, how it is changed, and what is refused of it.
struct Kind {
    path: &'static str,
    new: Value,
    /// The field that is unique, and another value for it.
    unique: (&'static str, Value),
    patch: Value,
    refused: Vec<(u16, &'static str, Value)>,
}

fn kinds(absent: &str) -> Vec<Kind> {
    vec![
        Kind {
            path: "/v1/tags",
            new: json!({ "name": "Refund", "color": "#1f8a70" }),
            unique: ("name", json!("Other")),
            patch: json!({ "color": null }),
            refused: vec![
                (400, "/name", json!({})),
                (422, "/name", json!({ "name": " " })),
                (422, "/color", json!({ "name": "x", "color": "red" })),
                (400, "/colour", json!({ "name": "x", "colour": "#000000" })),
            ],
        },
        Kind {
            path: "/v1/canned-responses",
            new: json!({ "shortcut": "hello", "title": "Greeting", "text": "Hello, how can I help?" }),
            unique: ("shortcut", json!("other")),
            patch: json!({ "text": "Hi!", "title": null }),
            refused: vec![
                (400, "/text", json!({ "shortcut": "x" })),
                (422, "/shortcut", json!({ "shortcut": "two words", "text": "x" })),
                (422, "/text", json!({ "shortcut": "x", "text": " " })),
                (422, "/text", json!({ "shortcut": "x", "text": "x".repeat(16 * 1024 + 1) })),
                (422, "/group_id", json!({ "shortcut": "x", "text": "x", "group_id": absent })),
            ],
        },
        Kind {
            path: "/v1/action-templates",
            new: json!({ "name": "Order", "fields": [{ "name": "number", "label": "Order number", "required": true }] }),
            unique: ("name", json!("Other")),
            patch: json!({ "description": "Asks for an order", "fields": [{ "name": "order" }] }),
            refused: vec![
                (400, "/fields", json!({ "name": "x" })),
                (422, "/fields", json!({ "name": "x", "fields": [] })),
                (422, "/fields", json!({ "name": "x", "fields": 7 })),
                (422, "/fields/0/name", json!({ "name": "x", "fields": [{}] })),
                (422, "/fields/1/name", json!({ "name": "x", "fields": [{ "name": "a" }, { "name": "a" }] })),
            ],
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn things_are_made_changed_deleted_restored_and_paged() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "agent").await;
    let sue = world.agent(&ann, "sue", "supervisor").await;
    let mallory = world.register("mallory").await;
    for kind in kinds(&ann.id) {
        one_kind(&world, [&ann, &bob, &sue, &mallory], &kind).await;
    }
}

async fn one_kind(world: &World, [ann, bob, sue, mallory]: [&Person; 4], kind: &Kind) {
    let made = world.post(sue, kind.path, kind.new.clone()).await.is(201);
    let (id, path) = (made.id(), made.header("location").to_owned());
    assert_eq!(path, format!("{}/{id}", kind.path));
    for (field, value) in kind.new.as_object().unwrap() {
        assert_eq!(&made.body[field], value, "{path}");
    }
    world.post(bob, kind.path, kind.new.clone()).await.problem(403, "forbidden");
    world.post(ann, kind.path, kind.new.clone()).await.problem(409, "already_exists");
    world.post(mallory, kind.path, kind.new.clone()).await.is(201);
    let got = world.get(bob, &path).await.is(200);
    assert_eq!((&got.body, got.etag()), (&made.body, made.etag()));
    for (status, pointer, bad) in &kind.refused {
        let got = world.post(ann, kind.path, bad.clone()).await.problem(*status, "invalid_request");
        assert_eq!(got.body["errors"][0]["pointer"], *pointer, "{bad}");
    }

    let patched = world.patch(ann, &path, kind.patch.clone()).await.is(200);
    for (field, value) in kind.patch.as_object().unwrap() {
        assert_eq!(&patched.body[field], value, "{path}");
    }
    let stale = world.request(Method::PATCH, &path).bearer_auth(&ann.token).header("if-match", made.etag());
    world.send(stale.json(&kind.patch)).await.problem(412, "precondition_failed");
    let stale = world.request(Method::DELETE, &path).bearer_auth(&ann.token).header("if-match", made.etag());
    world.send(stale).await.problem(412, "precondition_failed");

    let (unique, other) = &kind.unique;
    let mut second = kind.new.clone();
    second[unique] = other.clone();
    let second = world.post(ann, kind.path, second).await.is(201).id();
    let listed = async |who: &Person, query: &str| -> Vec<String> {
        let got = world.get(who, &format!("{}{query}", kind.path)).await.is(200);
        got.body["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(bob, "").await, [id.clone(), second.clone()]);
    let first = world.get(bob, &format!("{}?limit=1", kind.path)).await.is(200);
    let next = first.body["next_cursor"].as_str().unwrap();
    assert_eq!(listed(bob, &format!("?limit=1&cursor={next}")).await, [second.as_str()]);

    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        world.call(method, mallory, &path, kind.patch.clone()).await.problem(404, "not_found");
    }
    world.post(mallory, &format!("{path}/restore"), json!(null)).await.problem(404, "not_found");
    world.delete(ann, &path).await.is(204);
    world.get(bob, &path).await.problem(404, "not_found");
    assert_eq!(listed(bob, "").await, [second.as_str()]);
    assert_eq!(listed(ann, "?deleted=true").await, [id.as_str()]);
    for somebody in [bob, sue] {
        world.get(somebody, &format!("{}?deleted=true", kind.path)).await.problem(403, "forbidden");
    }
    let again = world.post(ann, kind.path, kind.new.clone()).await.is(201).id();
    world.post(ann, &format!("{path}/restore"), json!(null)).await.problem(409, "already_exists");
    world.delete(ann, &format!("{}/{again}", kind.path)).await.is(204);
    let restored = world.post(ann, &format!("{path}/restore"), json!(null)).await.is(200);
    assert_eq!(restored.body["created_at"], made.body["created_at"]);
    assert_eq!(listed(bob, "").await, [id, second]);
}
