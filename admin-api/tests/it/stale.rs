//! Who changes what they have not seen last is refused, and nothing changes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Got, Person, World};

/// Something with an ETag: a change to it that gives its tag, and all the ways it can be changed.
struct Kind {
    shown_at: String,
    touch: (Method, String, fn(usize) -> Value),
    /// The last of them is tried with the right tag, too.
    ways: Vec<(Method, String)>,
}

async fn kinds(world: &World, ann: &Person) -> Vec<Kind> {
    let group = world.post(ann, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let group = format!("/v1/groups/{group}");
    let widget = world.post(ann, "/v1/widgets", json!({ "name": "Site" })).await.is(201).id();
    let widget = format!("/v1/widgets/{widget}");
    let token = json!({ "name": "CRM", "scopes": ["agents:read"] });
    let token = format!("/v1/api-tokens/{}", world.post(ann, "/v1/api-tokens", token).await.is(201).id());
    let member = format!("{group}/members/{}", ann.id);
    let named: fn(usize) -> Value = |n| json!({ "name": format!("Name {n}") });
    let ranked: fn(usize) -> Value = |n| json!({ "priority": if n % 2 == 0 { "normal" } else { "first" } });
    let titled: fn(usize) -> Value = |n| json!({ "job_title": format!("Title {n}") });
    let kind =
        |shown_at: &str, (method, path, body): (Method, &str, fn(usize) -> Value), also: Option<Method>| {
            let touch = (method.clone(), path.to_owned(), body);
            let ways = [Some(method), also].into_iter().flatten().map(|way| (way, path.to_owned())).collect();
            Kind { shown_at: shown_at.to_owned(), touch, ways }
        };
    vec![
        kind(&group, (Method::PUT, &member, ranked), Some(Method::DELETE)),
        kind(&group, (Method::PATCH, &group, named), Some(Method::DELETE)),
        kind(&widget, (Method::PATCH, &widget, named), Some(Method::DELETE)),
        kind(&token, (Method::PATCH, &token, named), Some(Method::DELETE)),
        kind("/v1/tenant", (Method::PATCH, "/v1/tenant", named), None),
        kind("/v1/auth/me", (Method::PATCH, "/v1/auth/me", titled), None),
    ]
}

async fn with_tag(
    world: &World,
    ann: &Person,
    (method, path): &(Method, String),
    tag: &str,
    body: Value,
) -> Got {
    let request = world.request(method.clone(), path).bearer_auth(&ann.token).header("if-match", tag);
    world.send(if *method == Method::DELETE { request } else { request.json(&body) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_seen_the_last_change_changes_nothing() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    for Kind { shown_at, touch: (method, path, body), ways } in kinds(&world, &ann).await {
        let touch = async |n: usize| world.call(method.clone(), &ann, &path, body(n)).await.is(200).etag();
        let (stale, fresh) = (touch(1).await, touch(2).await);
        assert!(!stale.is_empty() && stale != fresh, "{path}: {stale} and {fresh}");
        let before = world.get(&ann, &shown_at).await.is(200).body;
        for way in &ways {
            with_tag(&world, &ann, way, &stale, body(3)).await.problem(412, "precondition_failed");
            assert_eq!(world.get(&ann, &shown_at).await.is(200).body, before, "{way:?}");
        }
        let last = ways.last().expect("there is a way");
        let got = with_tag(&world, &ann, last, &fresh, body(3)).await;
        assert!(got.status.is_success(), "{last:?}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_a_revision_of_what_has_none_changes_nothing() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let nobody = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";
    let without = admin_api::routes::table().into_iter().filter(|route| route.no_revision.is_some());
    for route in without {
        let path = route.path.replace("{id}", nobody).replace("{tag_id}", nobody);
        let way = (route.method, path);
        with_tag(&world, &ann, &way, "\"1\"", json!({})).await.problem(412, "precondition_failed");
        // Anything goes on to what is wrong with it otherwise.
        let any = with_tag(&world, &ann, &way, "*", json!({})).await;
        assert!(any.status.is_client_error() && any.status != 412, "{way:?}: {any:?}");
        let stranger = world.request(way.0.clone(), &way.1).header("if-match", "\"1\"");
        world.send(stranger.json(&json!({}))).await.problem(401, "unauthenticated");
    }
}
