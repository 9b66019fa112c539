//! A visitor is banned, changed and forgotten, with a real router, persister and store of files.

use std::{sync::Arc, time::Duration};

use bus_schema::{
    Audience, Author, Body, ClientId, IncarnationId, Shard, Timestamp, Visibility,
    erasure::Erasure,
    event::{File, VisitorErased},
    file::FileKey,
    state::{CloseReason, VisitorRecord},
    stream,
};
use ops::{
    chat::{self, Draft, Hand},
    files::{Files, NatsStore},
    kv::Kv,
    log::Log,
    testing::wait_for,
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    chat::{Chat, persister},
    routing::router,
    world::{BusServer, Person, World},
};

pub const SOON: Duration = Duration::from_secs(20);
const SECRETS: [&str; 4] = ["sesame", "Vera", "vera@", "cave.png"];

pub struct Scene {
    pub world: World,
    pub admin: Person,
    pub group: String,
    pub log: Log,
    pub files: Files,
    _router: ops::testing::Process,
}

impl Scene {
    pub async fn new(server: &BusServer) -> Self {
        let world = World::on(server).await;
        persister(&world).await;
        let router = router(&world).await;
        let admin = world.register("acme").await;
        let group = world.post(&admin, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
        let bus = world.bus().await;
        let files = Files::open(&bus, Arc::new(NatsStore::new(bus.clone()))).await.unwrap();
        Self { log: Log::new(bus, Shard(0)), files, world, admin, group, _router: router }
    }

    pub async fn chat(&self) -> Chat {
        let chat = Chat::start(&self.log, &self.admin.tenant, Some(&self.group), "open sesame").await;
        let seen = format!("/v1/conversations/{}?min_seq={}", chat.id(), chat.seq);
        self.world.get(&self.admin, &seen).await.is(200);
        chat
    }

    /// Somebody says something with a file in it.
    pub async fn file(&self, chat: &Chat, visibility: Visibility) -> FileKey {
        let key =
            FileKey { tenant: chat.home.tenant, attachment: Uuid::now_v7().to_string().parse().unwrap() };
        let author = Author::visitor(chat.visitor);
        let now = now();
        let conversation = chat.home.conversation;
        let mut writing = self.files.begin(key, conversation, author, now).await.unwrap();
        writing.write(bytes::Bytes::from_static(b"bytes")).await.unwrap();
        writing.finish().await.unwrap();
        let file = File {
            attachment_id: key.attachment,
            name: "cave.png".into(),
            content_type: "image/png".into(),
            size: 5,
            width: None,
            height: None,
        };
        self.files.ready(key, conversation, author, file.clone(), now).await.unwrap();
        let draft = self.draft(chat, visibility, Body::File(file.clone()));
        let life = chat::life(&self.log, chat.home).await.unwrap();
        let claim = self.files.claim(&self.log, &draft, &file, now, "").await.unwrap();
        let sent = chat::send(&self.log, &draft, life, |_| Ok(())).await;
        self.files.claimed(claim, &sent).await;
        sent.unwrap();
        key
    }

    fn draft(&self, chat: &Chat, visibility: Visibility, body: Body) -> Draft {
        Draft {
            home: chat.home,
            author: Author::visitor(chat.visitor),
            client_id: ClientId::new(Uuid::now_v7().to_string()).unwrap(),
            visibility,
            body,
            thread: None,
            retry: false,
            cause: None,
        }
    }

    /// As if somebody had asked for the erasure and then died: it is done when this comes back.
    async fn ask(&self, chat: &Chat, receipt: &str) {
        let erasure = Erasure {
            shard: Shard(0),
            visitor_id: chat.visitor,
            receipt: receipt.to_owned(),
            by: Some(self.admin.id.parse().unwrap()),
            asked_at: now(),
            lapsed: None,
        };
        self.enter(chat, &erasure).await;
        wait_for(SOON, "it to be done", async || !self.is_under_way(chat).await).await;
    }

    pub async fn enter(&self, chat: &Chat, erasure: &Erasure) {
        let bucket = Kv::open(self.log.bus(), stream::ERASURES).await.unwrap();
        let key = format!("{}.{}", chat.home.tenant, chat.visitor);
        bucket.create(&key, erasure.encode(), None).await.unwrap();
    }

    pub async fn is_under_way(&self, chat: &Chat) -> bool {
        let bucket = Kv::open(self.log.bus(), stream::ERASURES).await.unwrap();
        bucket.get(&format!("{}.{}", chat.home.tenant, chat.visitor)).await.unwrap().is_some()
    }

    /// Who had the visitor erased, and why, as the audit log says.
    pub async fn audited(&self, chat: &Chat) -> Vec<(Option<String>, Vec<String>)> {
        let said = "SELECT actor_id, fields FROM config.audit_log
            WHERE entity = 'visitor' AND action = 'erased' AND entity_id = $1";
        let rows = self.world.postgres().await.query(said, &[&chat.visitor.uuid()]).await.unwrap();
        rows.iter().map(|row| (row.get::<_, Option<Uuid>>(0).map(|id| id.to_string()), row.get(1))).collect()
    }

    /// Everything that the log and, once it is there, Postgres hold, as text.
    pub async fn everything(&self, chat: &Chat) -> String {
        let end = self.log.end().await.unwrap().last;
        self.world.get(&self.admin, &format!("/v1/conversations?min_seq={end}")).await.is(200);
        let mut all = String::new();
        for filter in [chat.home.stored(Audience::Staff), format!("chat.v1.0.{}.visitor.*", chat.home.tenant)]
        {
            for message in self.log.read(&filter, 1, 10_000).await.unwrap() {
                all.push_str(&String::from_utf8_lossy(&message.payload));
            }
        }
        let (postgres, connection) =
            tokio_postgres::connect(&self.world.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'chat'";
        for table in postgres.query(tables, &[]).await.unwrap() {
            let name: String = table.get(0);
            let rows = postgres.query(&format!("SELECT t::text FROM chat.{name} t"), &[]).await.unwrap();
            for row in rows {
                all.push_str(row.get::<_, Option<&str>>(0).unwrap_or_default());
            }
        }
        all
    }
}

pub fn now() -> Timestamp {
    Timestamp::from_millis(ops::client::now_ms())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_leaves_nothing_in_the_log_the_read_model_or_the_store_of_files() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, files, log, .. } = &scene;
    let agent = world.agent(admin, "bob", "agent").await;
    let (chat, other) = (scene.chat().await, scene.chat().await);
    let keys = [scene.file(&chat, Visibility::All).await, scene.file(&chat, Visibility::Agents).await];
    let kept = scene.file(&other, Visibility::All).await;
    let unsent = FileKey { attachment: Uuid::now_v7().to_string().parse().unwrap(), ..kept };
    let author = Author::visitor(chat.visitor);
    files.begin(unsent, chat.home.conversation, author, now()).await.unwrap();
    let path = format!("/v1/visitors/{}", chat.visitor);
    let profile = json!({ "name": "Vera Sesame", "email": "vera@example.com", "custom": { "k": "sesame" } });
    world.call(Method::PATCH, admin, &path, profile).await.is(200);
    let before = scene.everything(&chat).await;
    assert!(before.contains("sesame"), "the secrets are there to be found");

    world.call(Method::DELETE, &agent, &path, json!(null)).await.problem(403, "forbidden");
    let erased = world.call(Method::DELETE, admin, &path, json!(null)).await.is(200);
    let receipt = erased.body["receipt"].clone();
    wait_for(SOON, "the erasure to end", async || {
        let again = world.call(Method::DELETE, admin, &path, json!(null)).await.is(200);
        assert_eq!(again.body["receipt"], receipt, "it is the same erasure");
        again.body["done"] == true
    })
    .await;

    assert_eq!(scene.audited(&chat).await, [(Some(admin.id.clone()), vec!["asked".to_owned()])]);
    let life = chat::life(log, chat.home).await.unwrap().unwrap();
    assert!(!life.is_open());
    scene.everything(&chat).await;
    world.get(admin, &path).await.problem(404, "not_found");
    for key in keys.into_iter().chain([unsent]) {
        assert_eq!(files.record(key).await.unwrap(), None);
        assert!(!files.unsettled().await.unwrap().contains(&key));
    }
    assert!(files.record(kept).await.unwrap().is_some(), "another's file stays");
    let last = log.last(&chat.home.lane(bus_schema::Lane::Life).to_string()).await.unwrap().unwrap();
    let last = bus_schema::Event::decode(&last.payload).unwrap();
    assert!(matches!(last.body, Body::Closed(closed) if closed.reason == CloseReason::Erased));

    let own = scene.log.read(&chat.home.stored(Audience::Staff), 1, 1_000).await.unwrap();
    let lanes: Vec<_> = own.iter().map(|message| message.subject.rsplit('.').next().unwrap()).collect();
    assert!(lanes.iter().all(|lane| ["life", "desk"].contains(lane)), "{lanes:?}");
    let rows = scene.everything(&chat).await;
    assert!(!rows.contains("vera@") && !rows.contains("Vera Sesame"), "{rows}");
    world.call(Method::PATCH, admin, &path, json!({ "name": "x" })).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_begun_is_ended_by_whoever_comes() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let chat = scene.chat().await;
    scene.ask(&chat, "r-1").await;
    let record = chat::record(&scene.log, chat.home.tenant, chat.visitor).await.unwrap();
    assert_eq!(record.receipt.as_deref(), Some("r-1"));
    let rows = scene.everything(&chat).await;
    assert_eq!(SECRETS.iter().find(|secret| rows.contains(*secret)), None, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_was_open_when_its_visitor_was_forgotten_is_closed_by_whoever_goes_on() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let log = &scene.log;
    let chat = scene.chat().await;
    // As if whoever did it had got this far, with a thread begun in between that could not be closed.
    let hand = Hand {
        tenant: chat.home.tenant,
        visitor: chat.visitor,
        author: Author::agent(scene.admin.id.parse().unwrap()),
        cause: None,
        epoch: log.epoch().await.unwrap(),
        writer: IncarnationId::from_uuid(Uuid::now_v7()),
    };
    let record = VisitorRecord { erased_at: Some(now()), ..VisitorRecord::new(chat.visitor) };
    let erased = VisitorErased { receipt: "r-1".into(), record };
    chat::change_visitor(log, hand, |_| Ok(Some(Body::VisitorErased(erased.clone())))).await.unwrap();
    scene.ask(&chat, "r-1").await;
    let life = chat::life(log, chat.home).await.unwrap().unwrap();
    assert_eq!((life.is_open(), life.state.thread_id), (false, chat.state.thread_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_is_repeated_leaves_alone_whoever_came_back_after_it() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, log, .. } = &scene;
    let chat = scene.chat().await;
    let path = format!("/v1/visitors/{}", chat.visitor);
    let erased = world.call(Method::DELETE, admin, &path, json!(null)).await.is(200);
    let receipt = erased.body["receipt"].as_str().unwrap().to_owned();
    wait_for(SOON, "the erasure to end", async || {
        world.call(Method::DELETE, admin, &path, json!(null)).await.is(200).body["done"] == true
    })
    .await;
    let back = chat.again(&scene.group, "sesame seeds, please").await;

    // As if whoever did it had died before it could say that it is done.
    scene.ask(&chat, &receipt).await;

    let life = chat::life(log, chat.home).await.unwrap().unwrap();
    assert_eq!((life.is_open(), life.state.thread_id), (true, back.state.thread_id));
    assert!(scene.everything(&chat).await.contains("sesame seeds"));
    let record = chat::record(log, chat.home.tenant, chat.visitor).await.unwrap();
    assert_eq!((record.receipt, record.record.name.as_deref()), (None, Some("Vera")));
    world.get(admin, &path).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_closes_the_thread_and_bars_the_start_of_another() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, log, .. } = &scene;
    let chat = scene.chat().await;
    let path = format!("/v1/visitors/{}", chat.visitor);
    let past = json!({ "until": "2020-01-01T00:00:00Z" });
    world.post(admin, &format!("{path}/ban"), past).await.problem(422, "invalid_request");
    let banned = world.post(admin, &format!("{path}/ban"), json!({})).await.is(200);
    assert_eq!(banned.body["banned"], true);
    let last = log.last(&chat.home.lane(bus_schema::Lane::Life).to_string()).await.unwrap().unwrap();
    let last = bus_schema::Event::decode(&last.payload).unwrap();
    assert!(matches!(last.body, Body::Closed(closed) if closed.reason == CloseReason::VisitorBanned));
    let tag = banned.etag();
    let stale = world.request(Method::PATCH, &path).bearer_auth(&admin.token).header("if-match", "\"1\"");
    world.send(stale.json(&json!({ "name": "N" }))).await.problem(412, "precondition_failed");
    let fresh = world.request(Method::PATCH, &path).bearer_auth(&admin.token).header("if-match", &tag);
    let patched = world.send(fresh.json(&json!({ "name": "N" }))).await.is(200);
    assert_eq!((&patched.body["name"], &patched.body["banned"]), (&json!("N"), &json!(true)));
    // Who has only read it can say what they read.
    let read = world.get(admin, &format!("{path}?min_seq={}", patched.body["seq"])).await.is(200);
    assert_eq!(read.etag(), patched.etag());
    for (name, status) in [("O", 200), ("P", 412)] {
        let named = world.request(Method::PATCH, &path).bearer_auth(&admin.token);
        let named = named.header("if-match", read.etag()).json(&json!({ "name": name }));
        world.send(named).await.is(status);
    }
    let wrong = json!({ "email": "nobody" });
    let wrong = world.call(Method::PATCH, admin, &path, wrong).await.problem(422, "invalid_request");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/email");
    let free = world.post(admin, &format!("{path}/unban"), json!({})).await.is(200);
    assert_eq!(free.body["banned"], false);
    let record = chat::record(log, chat.home.tenant, chat.visitor).await.unwrap();
    assert_eq!(record.record.ban, None);
    let stranger = world.register("mallory").await;
    for (method, path) in [(Method::PATCH, path.clone()), (Method::DELETE, path.clone())] {
        world.call(method, &stranger, &path, json!({ "name": "x" })).await.problem(404, "not_found");
    }
}
