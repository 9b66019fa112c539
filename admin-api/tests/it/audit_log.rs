//! Who changed what: `GET /v1/audit-log`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Person, World};

async fn entries(world: &World, who: &Person, filter: &str) -> Vec<Value> {
    let got = world.get(who, &format!("/v1/audit-log?limit=200{filter}")).await.is(200);
    got.body["data"].as_array().unwrap().clone()
}

/// What was done, as `actor action entity`.
fn told(entries: &[Value]) -> Vec<String> {
    let of = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let line = |entry: &Value| {
        let actor = entry["actor"]["name"].as_str().unwrap_or("nobody");
        format!("{actor} {} {}", of(entry, "action"), of(entry, "entity"))
    };
    entries.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_with_who_made_it_the_latest_first() {
    let world = World::alone().await;
    let (ann, mallory) = (world.register("acme").await, world.register("mallory").await);
    let ann_is = "Ann Admin";
    let scopes = json!({ "name": "CRM", "scopes": ["configuration:read", "configuration:write"] });
    let crm = world.post(&ann, "/v1/api-tokens", scopes).await.is(201);
    let secret = crm.body["token"].as_str().unwrap();
    let tag = json!({ "name": "vip", "color": "#00ff00" });
    let tag =
        world.send(world.request(Method::POST, "/v1/tags").bearer_auth(secret).json(&tag)).await.is(201);
    let home = format!("/v1/tags/{}", tag.id());
    let patched = world.patch(&ann, &home, json!({ "name": "gold", "color": "#ffd700" })).await.is(200);
    world.patch(&ann, &home, json!({ "name": "" })).await.problem(422, "invalid_request");
    world.delete(&ann, &home).await.is(204);
    world.post(&ann, &format!("{home}/restore"), Value::Null).await.is(200);
    let bob = world.agent(&ann, "bob", "agent").await;
    world.delete(&ann, &format!("/v1/agents/{}", bob.id)).await.is(204);

    let of_tag = entries(&world, &ann, &format!("&entity_id={}", tag.id())).await;
    let lines = ["restored", "deleted", "changed"].map(|action| format!("{ann_is} {action} tag"));
    assert_eq!(told(&of_tag)[..3], lines, "{of_tag:#?}");
    assert_eq!(told(&of_tag)[3..], ["CRM created tag"], "what was refused changed nothing");
    assert_eq!(of_tag[2]["fields"], json!(["name", "color"]), "by name");
    assert_eq!(of_tag[2]["request_id"], patched.header("x-request-id"));
    assert_eq!(of_tag[2]["actor"], json!({ "type": "agent", "id": ann.id, "name": ann_is }));
    assert_eq!(of_tag[3]["actor"], json!({ "type": "bot", "id": crm.id(), "name": "CRM" }));
    let by_crm = entries(&world, &ann, &format!("&actor_id={}", crm.id())).await;
    assert_eq!(by_crm, of_tag[3..], "of one actor");
    let of_agents = entries(&world, &ann, "&entity=agent").await;
    assert_eq!(told(&of_agents)[0], format!("{ann_is} deleted agent"));
    assert!(of_agents.iter().all(|entry| entry["entity"] == "agent"));

    // Times bound it: from the first on, and before the second.
    let (first, second) = (of_tag[2]["at"].as_str().unwrap(), of_tag[1]["at"].as_str().unwrap());
    let within = entries(&world, &ann, &format!("&entity_id={}&from={first}&to={second}", tag.id())).await;
    assert_eq!(within, if first == second { &[] } else { &of_tag[2..3] });

    let all = entries(&world, &ann, "").await;
    let whole = json!(all).to_string();
    assert!(
        !whole.contains("gold") && !whole.contains("#ffd700") && !whole.contains(secret),
        "never by value"
    );
    let order: Vec<_> = all.iter().map(|entry| (entry["at"].to_string(), entry["id"].to_string())).collect();
    assert!(order.windows(2).all(|pair| pair[0] > pair[1]), "latest first: {order:?}");

    // Another tenant's are absent, and a program reads them with the scope for configuration.
    assert_eq!(entries(&world, &mallory, &format!("&actor_id={}", ann.id)).await, Vec::<Value>::new());
    assert!(!json!(entries(&world, &mallory, "").await).to_string().contains(&ann.id));
    let read = world.send(world.request(Method::GET, "/v1/audit-log?limit=200").bearer_auth(secret)).await;
    assert_eq!(read.is(200).body["data"], json!(all));
    for (query, pointer) in [("actor_id=me", "/query/actor_id"), ("since=now", "/query/since")] {
        let problem =
            world.get(&ann, &format!("/v1/audit-log?{query}")).await.problem(400, "invalid_request");
        assert_eq!(problem.body["errors"][0]["pointer"], pointer, "{:#}", problem.body);
    }
}
