//! Pages may use an edge only from origins that are listed.

use bus_schema::claims::Role;
use serde_json::json;

use crate::{
    client::{Client, Got, login},
    http,
    world::{CONSOLE_ORIGIN, WIDGET_ORIGIN, World},
};

#[tokio::test]
async fn an_origin_that_nobody_lists_gets_no_socket() {
    let world = World::new().await;
    let edge = world.edge().await;
    for origin in ["https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"]
    {
        assert_eq!(Client::connect(edge.at, Some(origin)).await.err(), Some(403), "{origin}");
    }
    for origin in [WIDGET_ORIGIN, CONSOLE_ORIGIN] {
        assert!(Client::connect(edge.at, Some(origin)).await.is_ok(), "{origin}");
    }
}

#[tokio::test]
async fn a_token_counts_only_from_its_own_list() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let visitor = session["token"].as_str().unwrap().to_owned();
    let staff = world.staff_token(world.agents[0], Role::Agent);
    for (token, origin, allowed) in [
        (&visitor, WIDGET_ORIGIN, true),
        (&visitor, CONSOLE_ORIGIN, false),
        (&staff, CONSOLE_ORIGIN, true),
        (&staff, WIDGET_ORIGIN, false),
    ] {
        let mut client = Client::connect(edge.at, Some(origin)).await.unwrap();
        let answer = client.request("login", login(token, json!({}))).await;
        assert_eq!(answer["success"], allowed, "{origin}: {answer}");
        if !allowed {
            assert_eq!(answer["payload"]["error"]["code"], "origin_not_allowed");
            assert_eq!(client.closed().await, Got::Closed(3506));
        }
    }
}

#[tokio::test]
async fn calls_from_pages_are_answered_for_listed_origins_alone() {
    let world = World::new().await;
    let edge = world.edge().await;
    let path = format!("/v1/widget/config/{}", world.widget_key);
    let good = http::request(edge.at, "GET", &path, &[("origin", WIDGET_ORIGIN)], "").await;
    assert_eq!((good.status, good.body["name"].as_str()), (200, Some("Shop chat")));
    assert!(good.head.contains(&format!("access-control-allow-origin: {WIDGET_ORIGIN}")));
    assert!(good.head.contains("vary: origin"));
    let preflight = [("origin", WIDGET_ORIGIN), ("access-control-request-method", "POST")];
    let asked = http::request(edge.at, "OPTIONS", "/v1/widget/session", &preflight, "").await;
    assert_eq!(asked.status, 204);
    assert!(asked.head.contains("access-control-allow-methods"));
    for origin in ["https://evil.example", CONSOLE_ORIGIN] {
        let bad = http::request(edge.at, "GET", &path, &[("origin", origin)], "").await;
        assert_eq!((bad.status, bad.body["code"].as_str()), (403, Some("origin_not_allowed")), "{origin}");
    }
}
