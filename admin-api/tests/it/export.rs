//! Everything that is kept about a visitor, as one document.

use bus_schema::{Author, Body, ClientId, Shard, TagId, Visibility, event};
use ops::{
    chat::{self, Draft},
    log::Log,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    chat::{Chat, persister},
    world::{BusServer, Person, World},
};

/// Of the long conversation: more bytes than two sockets hold.
const EVENTS: i64 = 100_000;
const THREADS: i64 = 250;

async fn said(chat: &Chat, author: Author, visibility: Visibility, body: Body) -> u64 {
    let draft = Draft {
        home: chat.home,
        author,
        client_id: ClientId::new(Uuid::now_v7().to_string()).unwrap(),
        visibility,
        body,
        thread: Some(chat.state.thread_id),
        retry: false,
        cause: None,
    };
    chat::send(&chat.log, &draft, None, |_| Ok(())).await.unwrap().seq
}

fn kinds(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_what_was_said_what_staff_wrote_and_how_the_record_came_to_be() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    persister(&world).await;
    let ann = world.register("acme").await;
    let [sue, bob] = [world.agent(&ann, "sue", "supervisor").await, world.agent(&ann, "bob", "agent").await];
    let mallory = world.register("mallory").await;
    let group = world.post(&ann, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let log = Log::new(world.bus().await, Shard(0));
    let mut chat = Chat::start(&log, &ann.tenant, Some(&group), "hello").await;
    let other = Chat::start(&log, &ann.tenant, Some(&group), "not this one").await;
    chat.says("my number is 555").await;
    let staff = Author::agent(ann.id.parse().unwrap());
    let text = |text: &str| event::Message { text: text.to_owned(), quick_replies: Vec::new() };
    said(&chat, staff, Visibility::Agents, Body::Message(text("sounds cross"))).await;
    let tag_id = TagId::from_uuid(Uuid::now_v7());
    said(&chat, staff, Visibility::Agents, Body::Tagged(event::Tagged { tag_id })).await;
    let file = event::File {
        attachment_id: Uuid::now_v7().to_string().parse().unwrap(),
        name: "cave.png".into(),
        content_type: "image/png".into(),
        size: 5,
        width: None,
        height: None,
    };
    said(&chat, Author::visitor(chat.visitor), Visibility::All, Body::File(file)).await;
    chat.closed().await;
    let path = format!("/v1/visitors/{}", chat.visitor);
    let seq =
        world.patch(&ann, &path, json!({ "email": "vera@example.com" })).await.is(200).body["seq"].clone();
    let export = format!("{path}/export?min_seq={seq}");

    world.get(&bob, &export).await.problem(403, "forbidden");
    world.get(&mallory, &export).await.problem(404, "not_found");
    let got = world.get(&sue, &export).await.is(200);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(
        got.header("content-disposition"),
        format!("attachment; filename=\"visitor-{}.json\"", chat.visitor)
    );
    let whole = got.body.clone();
    assert_eq!(whole["applied_seq"].to_string(), got.header("x-applied-seq"));
    assert_eq!(whole["visitor"], world.get(&sue, &path).await.is(200).body);
    let events = kinds(&whole["events"]);
    assert_eq!(events, ["started", "message", "message", "message", "tagged", "file", "closed"]);
    let all = world.get(&sue, &format!("/v1/conversations/{}/events", chat.id())).await.is(200).body;
    assert_eq!(whole["events"], all["data"], "as they are shown elsewhere");
    assert_eq!(kinds(&whole["record_events"]), ["visitor_seen", "visitor_updated"]);
    let threads = whole["threads"].as_array().unwrap();
    assert_eq!((threads.len(), &threads[0]["close_reason"]), (1, &json!("resolved")));
    let text = whole.to_string();
    assert!(text.contains("sounds cross") && text.contains("cave.png") && text.contains("vera@example.com"));
    assert!(!text.contains("not this one") && !text.contains(&other.id()), "{text}");

    let noted = "SELECT actor_id::text, entity_id::text FROM config.audit_log WHERE action = 'exported'";
    let noted = world.postgres().await.query(noted, &[]).await.unwrap();
    let noted: Vec<(String, String)> = noted.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(noted, [(sue.id, chat.visitor.to_string())], "who was refused read nothing");
}

/// `$1` tenant, `$2` visitor, `$3` conversation, `$4` how many events, `$5` of them in how many threads.
const SEED: &str = "WITH v AS (INSERT INTO chat.visitors (tenant_id, id, conversation_id, custom, verified, banned,
            first_seen_at, last_seen_at, seq)
        VALUES ($1::uuid, $2::uuid, $3::uuid, '{}', false, false, now(), now(), 1)),
    w AS (INSERT INTO chat.watermark (shard, epoch, seq, subject, at) VALUES (0, $2::uuid, $4::bigint, 'x', now())),
    t AS (INSERT INTO chat.threads (tenant_id, id, conversation_id, visitor_id, status, participants, life_seq,
            started_at, started_seq)
        SELECT $1::uuid, md5('t' || n)::uuid, $3::uuid, $2::uuid, 'closed', '{}', n, now(), n
        FROM generate_series(1, $5::bigint) n)
    INSERT INTO chat.events (tenant_id, seq, at, id, lane, subject_id, conversation_id, kind, author_type, author_id,
            visibility, payload)
        SELECT $1::uuid, n, now(), md5('e' || n)::uuid, CASE WHEN n % 100 = 0 THEN 'desk' ELSE 'msg' END, $3::uuid,
            $3::uuid, 'message', 'visitor', $2::uuid, 'all',
            format('{\"v\":1,\"kind\":\"message\",\"id\":\"%s\",\"tenant_id\":\"%s\",\"author\":{\"type\":\"visitor\",
                \"id\":\"%s\"},\"visibility\":\"all\",\"data\":{\"text\":\"%s\"}}',
                md5('e' || n)::uuid, $1::uuid, $2::uuid, repeat('x', 400))
        FROM generate_series(1, $4::bigint + 10) n";

struct Long {
    world: World,
    ann: Person,
    visitor: Uuid,
}

impl Long {
    async fn new() -> Self {
        let world = World::alone().await;
        let ann = world.register("acme").await;
        let (tenant, visitor, conversation) =
            (ann.tenant.parse::<Uuid>().unwrap(), Uuid::now_v7(), Uuid::now_v7());
        let seeded = world.postgres().await;
        seeded.execute(SEED, &[&tenant, &visitor, &conversation, &EVENTS, &THREADS]).await.unwrap();
        Self { world, ann, visitor }
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let path = format!("/v1/visitors/{}/export", self.visitor);
        self.world.request(Method::GET, &path).bearer_auth(&self.ann.token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_conversation_is_exported_whole_and_in_order() {
    let long = Long::new().await;
    let got = long.world.send(long.request()).await.is(200).body;
    let seqs: Vec<i64> =
        got["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    let wanted: Vec<i64> = (1..=EVENTS).filter(|n| n % 100 != 0).collect();
    assert!(seqs == wanted, "{} of {}, up to {:?}", seqs.len(), wanted.len(), seqs.last());
    assert_eq!(got["threads"].as_array().unwrap().len(), 250);
    assert_eq!(got["record_events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_sent_as_it_is_read_and_cut_off_if_the_visitor_is_forgotten_meanwhile() {
    let long = Long::new().await;
    let mut answer = long.request().send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(br#"{"exported_at":"#), "{first:?}");
    // It cannot have been read to its end: nobody took what two sockets do not hold.
    let forget = "UPDATE chat.visitors SET erased_at = now()";
    long.world.postgres().await.execute(forget, &[]).await.unwrap();
    let last = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            last => break last,
        }
    };
    assert!(last.is_err(), "it ended as if it were whole: {last:?}");
    long.world.send(long.request()).await.problem(404, "not_found");
}
