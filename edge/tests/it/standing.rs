//! Who may not be here any more is out soon, and stays out.

use std::time::Duration;

use bus_schema::{
    Author, Body, Event, EventId, SessionId, Subject, Timestamp, Visibility, VisitorId,
    claims::Role,
    event::{VisitorBanned, VisitorErased, VisitorUnbanned},
    state::{Ban, VisitorRecord},
    stream,
};
use ops::{
    auth::{self, StaffGrant},
    chat,
    kv::Kv,
    log::{Expect, Write},
    testing::{Fault, FaultProxy, wait_for},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    client::{Client, Got, login, message},
    http,
    world::{World, now},
};

/// How soon an ended session is out while the bus works.
const SOON: Duration = Duration::from_secs(2);

impl World {
    pub fn staff_session(&self) -> (String, SessionId) {
        let session = SessionId::from_uuid(Uuid::now_v7());
        let grant = StaffGrant { agent: self.agents[0], tenant: self.tenant, role: Role::Agent, session };
        (auth::mint_staff(&self.staff_key, grant, now()).token, session)
    }

    pub async fn revoke(&self, session: SessionId) {
        let bucket = Kv::open(&self.bus, stream::REVOKED).await.unwrap();
        bucket.put(&session.to_string(), "{}").await.unwrap();
    }

    /// Writes the visitor's record as admin-api does.
    async fn change_visitor(&self, visitor: VisitorId, change: impl Fn(VisitorRecord) -> Body) {
        let before = chat::record(&self.log, self.tenant, visitor).await.unwrap();
        let subject = Subject::Visitor { shard: self.log.shard(), tenant: self.tenant, visitor };
        let event = Event {
            id: EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: self.tenant,
            conversation_id: None,
            thread_id: None,
            author: Author::SYSTEM,
            client_id: None,
            visibility: Visibility::All,
            body: change(before.record),
        };
        let write = Write::new(subject.to_string(), event.encode());
        self.log.publish(write.expect(Expect::LastOnSubject(before.seq))).await.unwrap();
    }

    pub async fn ban(&self, visitor: VisitorId) {
        let by = self.agents[0];
        let banned = |record| {
            let record = VisitorRecord { ban: Some(Ban { until: None, by }), ..record };
            Body::VisitorBanned(VisitorBanned { until: None, by, record })
        };
        self.change_visitor(visitor, banned).await;
    }
}

/// How a login is refused: the error's code, and the close.
async fn refused(at: std::net::SocketAddr, token: &str) -> (Value, Got) {
    let mut client = Client::connect(at, None).await.unwrap();
    let answer = client.request("login", login(token, json!({}))).await;
    (answer["payload"]["error"]["code"].clone(), client.closed().await)
}

#[tokio::test]
async fn an_ended_session_is_out_within_two_seconds_and_cannot_come_back() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (token, session) = world.staff_session();
    let (other, _) = world.staff_session();
    let (mut ended, _) = Client::login(edge.at, &token).await;
    let (mut goes_on, _) = Client::login(edge.at, &other).await;
    world.revoke(session).await;
    assert_eq!(timeout(SOON, ended.closed()).await.unwrap(), Got::Closed(3502));
    assert_eq!(refused(edge.at, &token).await, (json!("unauthenticated"), Got::Closed(3502)));
    assert_eq!(goes_on.request("ping", json!({})).await["success"], true);
    // An edge that starts later knows of it too.
    let later = world.edge().await;
    assert_eq!(refused(later.at, &token).await.1, Got::Closed(3502));
}

#[tokio::test]
async fn a_session_that_ended_while_the_edge_was_cut_off_is_out_once_it_is_back() {
    let world = World::new().await;
    let proxy = FaultProxy::start(world.nats.address(), 1).await.unwrap();
    let edge = world.edge_with(&[("NATS_URL", &format!("nats://{}", proxy.address()))]).await;
    let (token, session) = world.staff_session();
    let (mut client, _) = Client::login(edge.at, &token).await;
    proxy.inject(Fault::Refuse);
    proxy.cut_all();
    world.revoke(session).await;
    proxy.heal();
    assert_eq!(client.closed().await, Got::Closed(3502));
}

#[tokio::test]
async fn staff_are_sent_away_while_nobody_can_say_whether_their_sessions_ended() {
    let world = World::new().await;
    let proxy = FaultProxy::start(world.nats.address(), 1).await.unwrap();
    let nats = format!("nats://{}", proxy.address());
    let edge = world.edge_with(&[("NATS_URL", &nats), ("UNVERIFIED_MS", "1500")]).await;
    let (token, _) = world.staff_session();
    let visitor = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let (mut staff, _) = Client::login(edge.at, &token).await;
    let (mut visitor, _) = Client::login(edge.at, visitor["token"].as_str().unwrap()).await;
    assert_eq!(http::get(edge.at, "/healthz").await.status, 200);
    proxy.inject(Fault::BlackHole);
    assert_eq!(staff.closed().await, Got::Closed(3002));
    assert_eq!(refused(edge.at, &token).await, (json!("unavailable"), Got::Closed(3002)));
    wait_for(Duration::from_secs(10), "the public port to say so", async || {
        http::get(edge.at, "/healthz").await.status == 503
    })
    .await;
    assert_eq!(visitor.request("ping", json!({})).await["success"], true);
    proxy.heal();
    wait_for(Duration::from_secs(10), "staff to be let in again", async || {
        let mut client = Client::connect(edge.at, None).await.unwrap();
        client.request("login", login(&token, json!({}))).await["success"] == true
    })
    .await;
}

#[tokio::test]
async fn a_banned_visitor_is_out_at_once_and_refused_everywhere_until_the_ban_is_lifted() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let conversation = session["conversation"]["id"].clone();
    let visitor: VisitorId = session["visitor"]["id"].as_str().unwrap().parse().unwrap();
    let bystander = world.session(&edge, [2; 32], json!({ "initial_message": "Hi" })).await;
    let (mut client, _) = Client::login(edge.at, token).await;
    let (mut other, _) = Client::login(edge.at, bystander["token"].as_str().unwrap()).await;
    world.ban(visitor).await;
    assert_eq!(timeout(SOON, client.closed()).await.unwrap(), Got::Closed(3503));
    let before = world.log.end().await.unwrap().last;
    client.send("send_event", message(&conversation, "late", "x")).await;
    assert_eq!(refused(edge.at, token).await, (json!("banned"), Got::Closed(3503)));
    for more in [json!({}), json!({ "name": "New" }), json!({ "initial_message": "Hello?" })] {
        let answer = http::post(edge.at, "/v1/widget/session", &world.session_body([1; 32], more)).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("banned")));
    }
    for path in ["", "/events"] {
        let path = format!("/v1/conversations/{}{path}", conversation.as_str().unwrap());
        let answer = http::get_as(edge.at, &path, token).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("banned")));
    }
    assert_eq!(world.log.end().await.unwrap().last, before, "nothing of it was stored");
    assert_eq!(other.request("ping", json!({})).await["success"], true);
    let unbanned = |record| {
        let record = VisitorRecord { ban: None, ..record };
        Body::VisitorUnbanned(VisitorUnbanned { record })
    };
    world.change_visitor(visitor, unbanned).await;
    Client::login(edge.at, token).await;
}

#[tokio::test]
async fn after_an_erasure_older_tokens_are_refused_and_the_visitor_may_begin_anew() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let visitor: VisitorId = session["visitor"]["id"].as_str().unwrap().parse().unwrap();
    let (mut client, _) = Client::login(edge.at, token).await;
    let at: Timestamp = now();
    let erased = |record: VisitorRecord| {
        let record = VisitorRecord { erased_at: Some(at), name: None, ..record };
        Body::VisitorErased(VisitorErased { receipt: "r".into(), record })
    };
    world.change_visitor(visitor, erased).await;
    assert_eq!(timeout(SOON, client.closed()).await.unwrap(), Got::Closed(3502));
    assert_eq!(refused(edge.at, token).await, (json!("unauthenticated"), Got::Closed(3502)));
    let path = format!("/v1/conversations/{}", session["conversation"]["id"].as_str().unwrap());
    assert_eq!(http::get_as(edge.at, &path, token).await.status, 401);
    let anew = wait_for(SOON, "a token that is newer than the erasure", async || {
        let body = world.session_body([1; 32], json!({}));
        let answer = http::post(edge.at, "/v1/widget/session", &body).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    Client::login(edge.at, anew["token"].as_str().unwrap()).await;
}
