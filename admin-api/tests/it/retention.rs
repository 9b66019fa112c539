//! Visitors are forgotten so many days after the last that was written of them, if their tenant says so.

use std::time::Duration;

use bus_schema::{
    Shard, Timestamp, Visibility,
    erasure::{Erasure, Lapsed},
    stream,
};
use ops::{
    chat::{self, Newest},
    kv::Kv,
    testing::wait_for,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chat::Chat,
    erasure::{SOON, Scene, now},
    world::{BusServer, Got, Person, World},
};

const DAYS: u32 = 30;

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}

async fn retain(world: &World, admin: &Person, days: Value) -> Got {
    world.patch(admin, "/v1/tenant", json!({ "retention": { "forget_after_days": days } })).await
}

impl Scene {
    async fn over(&self) -> Chat {
        let chat = self.chat().await;
        self.close(&self.admin, &chat).await;
        chat
    }

    async fn close(&self, admin: &Person, chat: &Chat) {
        let path = format!("/v1/conversations/{}/close", chat.id());
        // The router hears of a thread a moment after it began.
        wait_for(SOON, "the thread to be closed", async || {
            self.world.post(admin, &path, json!({})).await.status.is_success()
        })
        .await;
    }

    async fn newest(&self, chat: &Chat) -> Newest {
        chat::newest(&self.log, chat.home, chat.visitor).await.unwrap().unwrap()
    }

    async fn get(&self, admin: &Person, chat: &Chat) -> Got {
        self.world.get(admin, &format!("/v1/visitors/{}", chat.visitor)).await
    }

    /// The day on which all that was written until `at` has been there for `DAYS` days; whoever is older goes now.
    async fn turn_to_the_end_of(&self, at: Timestamp) {
        let end = self.log.end().await.unwrap().last;
        self.world.get(&self.admin, &format!("/v1/conversations?min_seq={end}")).await.is(200);
        self.world.calendar.turn_to(at.plus(days(DAYS)));
        retain(&self.world, &self.admin, DAYS.into()).await.is(200);
    }

    async fn is_forgotten(&self, chat: &Chat) {
        wait_for(SOON, "the visitor to be forgotten", async || {
            let record = self.newest(chat).await.record;
            record.receipt.is_some() && !self.is_under_way(chat).await
        })
        .await;
    }

    /// Asked for when these were the last things that were written.
    async fn enter_lapsed(&self, chat: &Chat, newest: &Newest) {
        let lapsed = Lapsed { record_seq: newest.record.seq, life_seq: newest.life_seq, before: newest.at };
        let erasure = Erasure {
            shard: Shard(0),
            visitor_id: chat.visitor,
            receipt: "r-lapsed".to_owned(),
            by: None,
            asked_at: now(),
            lapsed: Some(lapsed),
        };
        self.enter(chat, &erasure).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_silent_for_as_many_days_as_the_tenant_says_is_forgotten_and_nobody_else() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, log, .. } = &scene;
    // The longest silent of all are a thread that still waits, and another tenant's visitor.
    let waits = scene.chat().await;
    let globex = world.register("globex").await;
    let foreign = Chat::start(log, &globex.tenant, None, "open sesame").await;
    scene.close(&globex, &foreign).await;
    let old = scene.chat().await;
    scene.file(&old, Visibility::All).await;
    scene.close(admin, &old).await;
    let young = scene.over().await;
    let end = scene.newest(&old).await.at;
    wait_for(SOON, "the young one to be younger", async || {
        let path = format!("/v1/visitors/{}", young.visitor);
        world.patch(admin, &path, json!({ "custom": { "n": now().to_string() } })).await.is(200);
        scene.newest(&young).await.at > end
    })
    .await;
    assert!(scene.everything(&old).await.contains("sesame"), "the secrets are there to be found");

    scene.turn_to_the_end_of(end).await;
    scene.is_forgotten(&old).await;
    let kept = scene.everything(&old).await;
    scene.get(admin, &old).await.problem(404, "not_found");
    for (admin, chat) in [(admin, &waits), (admin, &young), (&globex, &foreign)] {
        scene.get(admin, chat).await.is(200);
        assert_eq!(scene.newest(chat).await.record.receipt, None);
    }
    assert!(kept.contains("sesame"), "what others said stays");
    let own = log.read(&old.home.stored(bus_schema::Audience::Staff), 1, 1_000).await.unwrap();
    let lanes: Vec<_> = own.iter().map(|message| message.subject.rsplit('.').next().unwrap()).collect();
    assert!(lanes.iter().all(|lane| ["life", "desk"].contains(lane)), "{lanes:?}");
    let record = scene.newest(&old).await.record;
    assert_eq!(record.record.erased_at, Some(end), "whoever is here keeps a token of today");
    assert_eq!(scene.audited(&old).await, [(None, vec!["retention".to_owned()])]);

    scene.turn_to_the_end_of(scene.newest(&young).await.at).await;
    scene.is_forgotten(&young).await;
    scene.get(admin, &waits).await.is(200);
    scene.get(&globex, &foreign).await.is(200);
    assert!(chat::life(log, waits.home).await.unwrap().unwrap().is_open());

    // Nobody is forgotten twice, and whoever comes back begins anew.
    let receipt = scene.newest(&old).await.record.receipt;
    let back = old.again(&scene.group, "sesame seeds, please").await;
    assert_eq!(scene.newest(&back).await.record.receipt, None);
    assert!(receipt.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_back_after_it_was_asked_for_is_not_forgotten() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, .. } = &scene;
    let (begins, changes) = (scene.over().await, scene.over().await);
    let [before_start, before_change] = [scene.newest(&begins).await, scene.newest(&changes).await];
    let back = begins.again(&scene.group, "sesame seeds, please").await;
    let path = format!("/v1/visitors/{}", changes.visitor);
    world.patch(admin, &path, json!({ "name": "Vera Sesame" })).await.is(200);
    for (chat, newest) in [(&begins, before_start), (&changes, before_change)] {
        scene.enter_lapsed(chat, &newest).await;
        wait_for(SOON, "it to be taken back", async || !scene.is_under_way(chat).await).await;
        assert_eq!(scene.newest(chat).await.record.receipt, None);
        scene.get(admin, chat).await.is(200);
        assert_eq!(scene.audited(chat).await, []);
    }
    let life = chat::life(&scene.log, back.home).await.unwrap().unwrap();
    assert_eq!((life.is_open(), life.state.thread_id), (true, back.state.thread_id));
    let all = scene.everything(&back).await;
    assert!(all.contains("open sesame") && all.contains("sesame seeds") && all.contains("Vera Sesame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_is_stored_also_of_visitors_who_come_back_while_they_are_being_forgotten() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let mut chats = Vec::new();
    for _ in 0..8 {
        chats.push(scene.over().await);
    }
    let end = scene.newest(&chats[7]).await.at;
    let come_back = async {
        let back = chats.iter().map(|chat| chat.again(&scene.group, "sesame seeds, please"));
        futures::future::join_all(back).await
    };
    let ((), back) = tokio::join!(scene.turn_to_the_end_of(end), come_back);
    for chat in &back {
        wait_for(SOON, "it to be over", async || !scene.is_under_way(chat).await).await;
        let life = chat::life(&scene.log, chat.home).await.unwrap().unwrap();
        assert_eq!((life.is_open(), life.state.thread_id), (true, chat.state.thread_id));
        let said = scene.log.read(&chat.home.lane(bus_schema::Lane::Msg).to_string(), 1, 10).await.unwrap();
        assert_eq!(said.last().map(|said| said.seq), Some(chat.seq), "what they said is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_days_back_keeps_all_who_were_not_reached_yet() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, log, .. } = &scene;
    let globex = world.register("globex").await;
    let foreign = Chat::start(log, &globex.tenant, None, "open sesame").await;
    scene.close(&globex, &foreign).await;
    let old = scene.over().await;
    // Nobody can read these, so they wait, and who looks waits for them.
    let bucket = Kv::open(log.bus(), stream::ERASURES).await.unwrap();
    let waiting: Vec<String> = (0..30).map(|n| format!("{}.{n}", admin.tenant)).collect();
    for key in &waiting {
        bucket.create(key, "of a newer version", None).await.unwrap();
    }
    scene.turn_to_the_end_of(scene.newest(&old).await.at).await;
    let postgres = world.postgres().await;
    wait_for(SOON, "somebody to look", async || {
        // The turn after that is in a month, by the calendar.
        let taken = "SELECT lapses_due_at > now() + interval '1 day' FROM config.tenants WHERE name = 'acme'";
        postgres.query_one(taken, &[]).await.unwrap().get::<_, bool>(0)
    })
    .await;
    retain(world, admin, Value::Null).await.is(200);
    for key in &waiting {
        bucket.remove(key, None).await.unwrap();
    }
    // Whose turn comes after it.
    retain(world, &globex, DAYS.into()).await.is(200);
    scene.is_forgotten(&foreign).await;
    assert_eq!(scene.newest(&old).await.record.receipt, None);
    assert!(!scene.is_under_way(&old).await);
    scene.get(admin, &old).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_is_under_way_already_gets_it_also_if_the_visitor_came_back() {
    let server = BusServer::start().await;
    let scene = Scene::new(&server).await;
    let Scene { world, admin, .. } = &scene;
    let chat = scene.over().await;
    let newest = scene.newest(&chat).await;
    let back = chat.again(&scene.group, "sesame seeds, please").await;
    scene.enter_lapsed(&chat, &newest).await;
    let path = format!("/v1/visitors/{}", chat.visitor);
    wait_for(SOON, "the erasure to end", async || {
        let erased = world.call(Method::DELETE, admin, &path, json!(null)).await;
        erased.status.is_success() && erased.body["done"] == true
    })
    .await;
    assert_eq!(scene.audited(&chat).await, [(Some(admin.id.clone()), vec!["asked".to_owned()])]);
    let rows = scene.everything(&back).await;
    assert!(!rows.contains("sesame"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_retention_are_checked_shown_and_taken_back() {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let shown = async || world.get(&ann, "/v1/tenant").await.is(200).body["retention"].clone();
    let never = json!({ "forget_after_days": null });
    assert_eq!(shown().await, never);
    for wrong in [json!(0), json!(3651), json!(-1), json!(1.5), json!("30"), json!([])] {
        let refused = retain(&world, &ann, wrong.clone()).await;
        let status = refused.status.as_u16();
        assert!([400, 422].contains(&status), "{wrong}: {refused:?}");
        assert_eq!(refused.body["errors"][0]["pointer"], "/retention/forget_after_days", "{wrong}");
    }
    let unknown = json!({ "retention": { "forget_after_day": 1 } });
    world.patch(&ann, "/v1/tenant", unknown).await.problem(400, "invalid_request");
    assert_eq!(shown().await, never);
    for right in [1, 3650] {
        let set = retain(&world, &ann, right.into()).await.is(200);
        assert_eq!(set.body["retention"], json!({ "forget_after_days": right }));
        assert_eq!(shown().await, set.body["retention"]);
    }
    // Other settings leave it alone.
    world.patch(&ann, "/v1/tenant", json!({ "name": "Acme" })).await.is(200);
    assert_eq!(shown().await, json!({ "forget_after_days": 3650 }));
    let bob = world.agent(&ann, "bob", "supervisor").await;
    retain(&world, &bob, 1.into()).await.problem(403, "forbidden");
    retain(&world, &ann, json!(null)).await.is(200);
    assert_eq!(shown().await, never);
}
