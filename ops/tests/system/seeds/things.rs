//! What is configured: what it is unless somebody says so, and how it goes and comes back.

use serde_json::json;
use uuid::Uuid;

use super::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_is_deleted_softly_frees_its_name_and_comes_back() {
    let api = Api::new().await;
    let (_, agent) = api.agent("eve", &[]).await;
    let email = format!("{}@seed.example", Uuid::now_v7().simple());
    for (area, new) in [
        ("/v1/agents", json!({ "email": email, "name": "Bob", "role": "agent" })),
        ("/v1/groups", json!({ "name": "Refunds" })),
        ("/v1/tags", json!({ "name": "vip" })),
        ("/v1/widgets", json!({ "name": "Site" })),
        ("/v1/canned-responses", json!({ "shortcut": "hi", "text": "Hello!" })),
        ("/v1/action-templates", json!({ "name": "Order", "fields": [{ "name": "order" }] })),
    ] {
        let (at, deleted) = (|id: &str| format!("{area}/{id}"), format!("{area}?deleted=true"));
        let restore = async |id: &str| api.post(&format!("{area}/{id}/restore"), json!({})).await;
        let first = api.post(area, new.clone()).await.is(201).id();
        api.post(area, new.clone()).await.problem(409, "already_exists");
        restore(&first).await.problem(404, "not_found");
        api.delete(&at(&first)).await.is(204);
        api.get(&at(&first)).await.problem(404, "not_found");
        assert!(!api.get(area).await.is(200).ids().contains(&first.as_str()), "{area}");
        assert_eq!(api.get(&deleted).await.is(200).ids(), [first.as_str()]);
        api.call_as(&agent, reqwest::Method::GET, &deleted, None).await.problem(403, "forbidden");
        let second = api.post(area, new).await.is(201).id();
        restore(&first).await.problem(409, "already_exists");
        api.delete(&at(&second)).await.is(204);
        restore(&first).await.is(200);
        api.get(&at(&first)).await.is(200);
        assert_eq!(api.get(&deleted).await.is(200).ids(), [second.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_ten_for_admins_and_five_for_others_unless_it_is_said() {
    let api = Api::new().await;
    assert_eq!(api.get(&format!("/v1/agents/{}", api.me)).await.is(200).body["capacity"], 10);
    let make = async |role: &str, capacity: Option<u32>| {
        let email = format!("{}@seed.example", Uuid::now_v7().simple());
        let mut new = json!({ "email": email, "name": "Bob", "role": role });
        if let Some(capacity) = capacity {
            new["capacity"] = capacity.into();
        }
        api.post("/v1/agents", new).await
    };
    for (role, capacity) in [("admin", 10), ("supervisor", 5), ("agent", 5)] {
        assert_eq!(make(role, None).await.is(201).body["capacity"], capacity, "{role}");
        assert_eq!(make(role, Some(3)).await.is(201).body["capacity"], 3, "{role}");
    }
    let refused = make("agent", Some(101)).await.problem(422, "invalid_request");
    assert_eq!(refused.body["errors"][0]["pointer"], "/capacity");
}
