//! Conversations over HTTP: who sees which, what they show, and what staff say.

use bus_schema::{
    Audience, Shard,
    history::{HistoryAnswer, HistoryRequest},
    subject,
};
use ops::log::Log;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chat::{Chat, persister},
    world::{BusServer, Got, Person, World},
};

pub struct Desk {
    server: BusServer,
    pub world: World,
    pub log: Log,
    pub ann: Person,
    pub bob: Person,
    pub eve: Person,
    pub group: String,
}

/// Ann is admin; Bob is in the group; Eve is in none.
pub async fn desk() -> Desk {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    persister(&world).await;
    let ann = world.register("acme").await;
    let bob = world.agent(&ann, "bob", "agent").await;
    let eve = world.agent(&ann, "eve", "agent").await;
    let group = world.post(&ann, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let member = format!("/v1/groups/{group}/members/{}", bob.id);
    world.call(Method::PUT, &ann, &member, json!({})).await.is(200);
    let log = Log::new(world.bus().await, Shard(0));
    Desk { server, world, log, ann, bob, eve, group }
}

impl Desk {
    pub async fn list(&self, who: &Person, query: &str, seq: u64) -> Vec<Value> {
        let got = self.world.get(who, &format!("/v1/conversations?min_seq={seq}{query}")).await.is(200);
        assert!(got.header("x-applied-seq").parse::<u64>().unwrap() >= seq);
        got.body["data"].as_array().unwrap().clone()
    }

    pub async fn say(&self, who: &Person, path: &str, body: Value) -> Got {
        self.world.post(who, path, body).await
    }
}

pub fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_see_their_groups_and_their_own_and_supervisors_all() {
    let desk = desk().await;
    let first = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let mut second = Chat::start(&desk.log, &desk.ann.tenant, None, "help").await;
    second.assigned(&desk.eve).await;
    let seq = second.seq;
    assert_eq!(ids(&desk.list(&desk.ann, "", seq).await), [second.id(), first.id()]);
    assert_eq!(ids(&desk.list(&desk.bob, "", seq).await), [first.id()]);
    assert_eq!(ids(&desk.list(&desk.eve, "", seq).await), [second.id()]);
    assert_eq!(ids(&desk.list(&desk.ann, "&view=mine", seq).await), Vec::<&str>::new());
    assert_eq!(ids(&desk.list(&desk.eve, "&view=mine", seq).await), [second.id()]);
    assert_eq!(ids(&desk.list(&desk.ann, "&status=queued", seq).await), [first.id()]);
    assert_eq!(ids(&desk.list(&desk.ann, "&status=open", seq).await).len(), 2);
    assert_eq!(ids(&desk.list(&desk.ann, &format!("&group_id={}", desk.group), seq).await), [first.id()]);
    assert_eq!(ids(&desk.list(&desk.ann, &format!("&agent_id={}", desk.eve.id), seq).await), [second.id()]);
    assert_eq!(
        ids(&desk.list(&desk.ann, &format!("&visitor_id={}", first.visitor), seq).await),
        [first.id()]
    );
    let page = desk.world.get(&desk.ann, "/v1/conversations?limit=1").await.is(200);
    let next = page.body["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&desk.list(&desk.ann, &format!("&limit=1&cursor={next}"), seq).await), [first.id()]);
    for path in ["", "/events", "/threads", "/routing"] {
        let path = format!("/v1/conversations/{}{path}", first.id());
        desk.world.get(&desk.bob, &path).await.is(200);
        desk.world.get(&desk.eve, &path).await.problem(404, "not_found");
    }
    let visitors = desk.world.get(&desk.eve, "/v1/visitors").await.is(200);
    assert_eq!(ids(visitors.body["data"].as_array().unwrap()), [second.visitor.to_string()]);
    desk.world.get(&desk.eve, &format!("/v1/visitors/{}", first.visitor)).await.problem(404, "not_found");
    let vera = desk.world.get(&desk.bob, &format!("/v1/visitors/{}", first.visitor)).await.is(200);
    assert_eq!(vera.body["name"], "Vera");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_learns_nothing() {
    let desk = desk().await;
    let chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let mallory = desk.world.register("mallory").await;
    assert_eq!(desk.list(&mallory, "", chat.seq).await, Vec::<Value>::new());
    let absent = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e".to_owned();
    let mask = |got: Got| {
        let mut body = got.problem(404, "not_found").body;
        body["instance"] = json!(null);
        body["request_id"] = json!(null);
        body
    };
    for path in ["", "/events", "/threads", "/routing"] {
        let theirs = desk.world.get(&mallory, &format!("/v1/conversations/{}{path}", chat.id())).await;
        let none = desk.world.get(&mallory, &format!("/v1/conversations/{absent}{path}")).await;
        assert_eq!(mask(theirs), mask(none));
    }
    let say = json!({ "content": "hi" });
    for id in [chat.id(), absent.clone()] {
        desk.say(&mallory, &format!("/v1/conversations/{id}/events"), say.clone())
            .await
            .problem(404, "not_found");
        desk.say(&mallory, &format!("/v1/conversations/{id}/close"), json!({}))
            .await
            .problem(404, "not_found");
    }
    for id in [chat.thread(), absent] {
        desk.say(&mallory, &format!("/v1/threads/{id}/events"), say.clone()).await.problem(404, "not_found");
        desk.world.get(&mallory, &format!("/v1/threads/{id}")).await.problem(404, "not_found");
    }
    desk.world.get(&mallory, &format!("/v1/visitors/{}", chat.visitor)).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_is_stored_once_and_read_back() {
    let desk = desk().await;
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let path = format!("/v1/conversations/{}/events", chat.id());
    let hi = json!({ "content": "hi there" });
    // Bob sees it but does not take part: notes only.
    desk.say(&desk.bob, &path, hi.clone()).await.problem(403, "not_participant");
    let note = json!({ "event": { "kind": "message", "client_id": "n-1", "visibility": "agents", "data": { "text": "look" } } });
    desk.say(&desk.bob, &path, note).await.is(201);
    chat.assigned(&desk.bob).await;

    let keyed = || {
        let request = desk.world.request(Method::POST, &path).bearer_auth(&desk.bob.token);
        desk.world.send(request.header("idempotency-key", "once").json(&hi))
    };
    let sent = keyed().await.is(201);
    assert_eq!(keyed().await.is(201).body["event_id"], sent.body["event_id"]);
    // Once the answer is forgotten, a day later, something else may be said under the same key.
    desk.world.postgres().await.execute("DELETE FROM config.idempotency_keys", &[]).await.unwrap();
    assert_eq!(keyed().await.is(200).body["event_id"], sent.body["event_id"], "stored under the same id");
    let other = desk.world.request(Method::POST, &path).bearer_auth(&desk.bob.token);
    desk.world.postgres().await.execute("DELETE FROM config.idempotency_keys", &[]).await.unwrap();
    let other = other.header("idempotency-key", "once").json(&json!({ "content": "and welcome" }));
    let other = desk.world.send(other).await.is(201);
    assert_eq!(other.body["duplicate"], false, "{:#}", other.body);
    let event = json!({ "event": { "kind": "message", "client_id": "c-1", "data": { "text": "more" } } });
    let first = desk.say(&desk.bob, &path, event.clone()).await.is(201);
    let mut again = event;
    again["retry"] = json!(true);
    let again = desk.say(&desk.bob, &path, again).await.is(200);
    assert_eq!((&again.body["seq"], again.body["duplicate"].as_bool()), (&first.body["seq"], Some(true)));

    chat.says("thanks").await;
    let whole =
        desk.world.get(&desk.bob, &format!("/v1/conversations/{}?min_seq={}", chat.id(), chat.seq)).await;
    let whole = whole.is(200);
    let texts = |events: &Value| -> Vec<String> {
        let events = events.as_array().unwrap().iter();
        events.filter_map(|e| e["data"]["text"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(texts(&whole.body["events"]), ["hello", "look", "hi there", "and welcome", "more", "thanks"]);
    assert_eq!(whole.body["thread"]["assignee_id"], desk.bob.id);
    // The visitor's two; one's own do not count.
    assert_eq!(whole.body["unread"], 2);
    let page = desk.world.get(&desk.bob, &format!("{path}?limit=2")).await.is(200);
    assert_eq!(
        (page.body["data"].as_array().unwrap().len(), page.body["has_more"].as_bool()),
        (2, Some(true))
    );
    let mut all = page.body["data"].as_array().unwrap().clone();
    let mut cursor = page.body["next_cursor"].clone();
    while let Some(next) = cursor.as_str() {
        let page = desk.world.get(&desk.bob, &format!("{path}?limit=2&cursor={next}")).await.is(200);
        all.extend(page.body["data"].as_array().unwrap().clone());
        cursor = page.body["next_cursor"].clone();
    }
    let seqs: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert_eq!(texts(&json!(all)).len(), 6);
    let last =
        desk.world.get(&desk.bob, &format!("{path}?before_seq={}&limit=1", chat.seq + 1)).await.is(200);
    assert_eq!(texts(&last.body["data"]), ["thanks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_in_a_closed_thread_or_in_anothers_name() {
    let desk = desk().await;
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    chat.assigned(&desk.bob).await;
    let thread = chat.thread();
    let (by_id, by_thread) =
        (format!("/v1/conversations/{}/events", chat.id()), format!("/v1/threads/{thread}/events"));
    desk.list(&desk.ann, "", chat.seq).await;
    desk.say(&desk.bob, &by_thread, json!({ "content": "hi", "author_type": "agent" })).await.is(201);
    desk.say(&desk.bob, &by_thread, json!({ "content": "hi", "author_type": "visitor" }))
        .await
        .problem(403, "forbidden");
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "content": " " }), "/content"),
        (json!({ "event": { "kind": "closed", "client_id": "c", "data": {} } }), "/event/kind"),
        (
            json!({ "event": { "kind": "message", "client_id": "c", "data": { "txt": "x" } } }),
            "/event/data/txt",
        ),
        (
            json!({ "event": { "kind": "message", "client_id": "a b", "data": { "text": "x" } } }),
            "/event/client_id",
        ),
    ] {
        let got = desk.say(&desk.bob, &by_id, body.clone()).await;
        assert!(got.status == 400 || got.status == 422, "{body}: {got:?}");
        assert_eq!(got.body["errors"][0]["pointer"], pointer, "{body}");
    }
    chat.closed().await;
    desk.list(&desk.ann, "", chat.seq).await;
    for path in [&by_id, &by_thread] {
        desk.say(&desk.bob, path, json!({ "content": "too late" })).await.problem(409, "thread_closed");
    }
    let threads =
        desk.world.get(&desk.bob, &format!("/v1/conversations/{}/threads", chat.id())).await.is(200);
    assert_eq!(
        (threads.body["data"][0]["id"].as_str(), threads.body["data"][0]["status"].as_str()),
        (Some(thread.as_str()), Some("closed"))
    );
    let one = desk.world.get(&desk.ann, &format!("/v1/threads/{thread}")).await.is(200);
    assert_eq!(one.body["close_reason"], "resolved");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_commands_say_so_and_reading_goes_on() {
    let mut desk = desk().await;
    let chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let base = format!("/v1/conversations/{}", chat.id());
    desk.say(&desk.ann, &format!("{base}/close"), json!({})).await.problem(503, "unavailable");
    let assign = json!({ "agent_id": desk.bob.id });
    desk.say(&desk.eve, &format!("{base}/assign"), assign.clone()).await.problem(403, "forbidden");
    desk.list(&desk.ann, "", chat.seq).await;
    let far = desk.world.get(&desk.ann, "/v1/conversations?min_seq=99999999").await;
    far.problem(504, "timeout");
    desk.server.nats.kill();
    desk.world.get(&desk.ann, &base).await.is(200);
    desk.say(&desk.ann, &format!("{base}/assign"), assign).await.problem(503, "unavailable");
    desk.say(&desk.ann, &format!("{base}/events"), json!({ "content": "x" }))
        .await
        .problem(503, "unavailable");
    let bus = desk.world.get(&desk.ann, "/v1/admin/bus").await.is(200);
    assert_eq!(bus.body["connected"], false);
    let stats = desk.world.get(&desk.ann, "/v1/admin/stats").await.is(200);
    assert_eq!(
        (stats.body["conversations"]["queued"].as_i64(), stats.body["agents_total"].as_i64()),
        (Some(1), Some(3))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_answered_on_the_bus_and_visitors_get_no_notes() {
    let desk = desk().await;
    let mut chat = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    let path = format!("/v1/conversations/{}/events", chat.id());
    let note = json!({ "event": { "kind": "message", "client_id": "n", "visibility": "agents", "data": { "text": "psst" } } });
    desk.say(&desk.bob, &path, note).await.is(201);
    chat.says("anybody?").await;
    desk.list(&desk.ann, "", chat.seq).await;
    let bus = desk.world.bus().await;
    let answer = async |tenant: &str, request: HistoryRequest| {
        let subject = subject::history(Shard(0), tenant.parse().unwrap());
        let payload = serde_json::to_vec(&request).unwrap();
        let answer = bus.client.request(subject, payload.into()).await.unwrap();
        serde_json::from_slice::<HistoryAnswer>(&answer.payload).unwrap()
    };
    let ask = async |tenant: &str, audience, before_seq| {
        let request = HistoryRequest {
            conversation_id: chat.home.conversation,
            audience,
            before_seq,
            after_seq: None,
            event_id: None,
            limit: 10,
        };
        answer(tenant, request).await.into_result()
    };
    let texts = |page: &bus_schema::protocol::EventPage| -> Vec<String> {
        let events = page.events.iter().map(|event| serde_json::from_str::<Value>(event.get()).unwrap());
        events.filter_map(|event| event["data"]["text"].as_str().map(str::to_owned)).collect()
    };
    let staff = ask(&desk.ann.tenant, Audience::Staff, None).await.unwrap();
    assert_eq!(texts(&staff), ["hello", "psst", "anybody?"]);
    let visitor = ask(&desk.ann.tenant, Audience::All, None).await.unwrap();
    assert_eq!(texts(&visitor), ["hello", "anybody?"]);
    let before = ask(&desk.ann.tenant, Audience::All, Some(chat.seq)).await.unwrap();
    assert_eq!(texts(&before), ["hello"]);
    let foreign = ask("0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e", Audience::Staff, None).await;
    assert_eq!(foreign.unwrap_err().code, bus_schema::ErrorCode::NotFound);

    let other = Chat::start(&desk.log, &desk.ann.tenant, Some(&desk.group), "hello").await;
    desk.list(&desk.ann, "", other.seq).await;
    let event = |page: &bus_schema::protocol::EventPage| {
        let last: Value = serde_json::from_str(page.events.last().unwrap().get()).unwrap();
        (last["id"].as_str().unwrap().parse().unwrap(), last["seq"].as_u64())
    };
    let (id, seq) = event(&visitor);
    let find = async |conversation_id, event_id: bus_schema::EventId| {
        let (before_seq, after_seq, event_id) = (None, None, Some(event_id));
        let audience = Audience::All;
        let request = HistoryRequest { conversation_id, audience, before_seq, after_seq, event_id, limit: 1 };
        let answer = answer(&desk.ann.tenant, request).await;
        (answer.event_seq, answer.holds_to >= Some(other.seq), answer.into_result().unwrap().events.len())
    };
    assert_eq!(find(chat.home.conversation, id).await, (seq, true, 0));
    assert_eq!(find(other.home.conversation, id).await, (None, true, 0), "it is another conversation's");
    assert_eq!(find(chat.home.conversation, bus_schema::EventId::NIL).await, (None, true, 0));
}
