//! Tokens that must not count, on the socket and over HTTP, and those that end while somebody is connected.

use std::time::Duration;

use bus_schema::{
    SessionId, Timestamp, VisitorId,
    claims::{Role, STAFF_TOKEN_SECONDS, VISITOR_TOKEN_SECONDS},
};
use ops::auth::{self, StaffGrant, VisitorGrant, forged};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    client::{Client, Got, login},
    desk_work::Desk,
    http,
    world::{World, now},
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

impl World {
    /// A token of the visitor with key byte 1 that ends in so many seconds.
    fn visitor_token(&self, left: u64) -> String {
        let visitor = VisitorId::from_key(self.tenant, &[1; 32]);
        let grant = VisitorGrant { visitor, tenant: self.tenant, widget: self.widget };
        auth::mint_visitor(&self.visitor_key, grant, ago(VISITOR_TOKEN_SECONDS - left)).token
    }

    fn agent_token(&self, left: u64) -> String {
        let session = SessionId::from_uuid(Uuid::now_v7());
        let grant = StaffGrant { agent: self.agents[0], tenant: self.tenant, role: Role::Agent, session };
        auth::mint_staff(&self.staff_key, grant, ago(STAFF_TOKEN_SECONDS - left)).token
    }
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp::from_millis(now().millis() - i64::try_from(seconds * 1_000).unwrap())
}

#[tokio::test]
async fn the_end_of_a_token_is_announced_and_ends_the_connection_unless_it_is_renewed() {
    let desk = Desk::open().await;
    let (world, edge) = (&desk.world, &desk.one);
    let ends = |answer: &Value| Timestamp::parse(answer["token_expires_at"].as_str().unwrap()).unwrap();

    // A minute before the end, and not before.
    let (mut told, answer) = Client::login(edge.at, &world.visitor_token(63)).await;
    let pushed = timeout(PATIENCE, told.push("token_expiring")).await.unwrap();
    assert_eq!(pushed["expires_at"], answer["token_expires_at"]);
    let left = ends(&answer).since(now());
    assert!(
        left <= Duration::from_secs(60) && left > Duration::from_secs(50),
        "told {left:?} before the end"
    );

    let (short, long) = (5, 7);
    for mint in [World::visitor_token, World::agent_token] {
        let (token, renewed, later) = (mint(world, short), mint(world, 500), mint(world, long));
        let (mut ending, answer) = Client::login(edge.at, &token).await;
        let (mut goes_on, _) = Client::login(edge.at, &token).await;
        let (mut ends_later, _) = Client::login(edge.at, &later).await;
        assert_eq!(goes_on.push("token_expiring").await["expires_at"], answer["token_expires_at"]);
        let answered = goes_on.request("refresh_token", json!({ "token": renewed })).await;
        assert!(ends(&answered["payload"]) > ends(&answer), "{answered}");
        ending.push("token_expiring").await;
        assert_eq!(timeout(PATIENCE, ending.closed()).await.unwrap(), Got::Closed(3005));
        let early = ends(&answer).since(now());
        assert!(early.is_zero(), "closed {early:?} before the end");
        assert_eq!(timeout(PATIENCE, ends_later.closed()).await.unwrap(), Got::Closed(3005));
        // Its first token is over for longer than it took to close the others.
        assert_eq!(goes_on.request("ping", json!({})).await["success"], true);
        let announced = |frame: &&Value| frame["action"] == "token_expiring";
        assert_eq!(goes_on.read.iter().filter(announced).count(), 1, "the new one is far from its end");
    }
}
