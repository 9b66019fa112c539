//! What a client that resumes is told of its thread: the same as one that begins anew, and nobody was asked for it.

#![allow(clippy::print_stdout, reason = "seeds are what a run is repeated by")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bus_schema::{Audience, Lane, claims::Role, subject, tally::UNREAD_MAX};
use futures::StreamExt as _;
use ops::log::{Write, raise_horizon};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    client::{Client, message},
    signals::{Scene, conversation},
    world::{Edge, World},
};

const ROUNDS: usize = 12;

/// A client that comes and goes.
struct Comer {
    token: String,
    client: Option<Client>,
    cursor: Value,
    named: u64,
}

impl Comer {
    async fn new(edge: &Edge, token: String) -> Self {
        let (client, login) = Client::login(edge.at, &token).await;
        let cursor = login["conversations"][0]["cursor"].clone();
        Self { token, client: Some(client), cursor, named: 0 }
    }

    async fn ask(&mut self, action: &str, payload: Value) -> Value {
        let client = self.client.as_mut().expect("it is there");
        let answer = client.request(action, payload).await;
        assert_eq!(answer["success"], true, "{action}: {answer}");
        answer
    }

    async fn say(&mut self, id: &Value, who: &str) -> u64 {
        self.named += 1;
        let said = message(id, &format!("{who}-{}", self.named), "x");
        self.ask("send_event", said).await["payload"]["seq"].as_u64().unwrap()
    }

    /// Reads until it has the event at `seq`.
    async fn until(&mut self, seq: u64) {
        let client = self.client.as_mut().expect("it is there");
        let push = client.find(|frame| frame["payload"]["event"]["seq"] == seq).await;
        self.cursor = push["payload"]["cursor"].clone();
    }

    /// Comes back, and is told what one who begins anew is told.
    async fn resumes(&mut self, edge: &Edge, id: &Value) -> (Value, Value) {
        self.client = None;
        let resume = json!({ "resume": [{ "conversation_id": id, "cursor": self.cursor }] });
        let (mut client, told) = Client::login_with(edge.at, &self.token, resume).await;
        self.cursor = client.push("caught_up").await["cursor"].clone();
        assert!(client.seen().all(|frame| frame["action"] != "reset"));
        self.client = Some(client);
        let (_, anew) = Client::login(edge.at, &self.token).await;
        (summary(&told["conversations"][0]), summary(&anew["conversations"][0]))
    }
}

/// What both are told.
fn summary(conv: &Value) -> Value {
    assert!(conv["unread"].is_u64(), "{conv}");
    json!({ "unread": conv["unread"], "marks": conv["marks"], "has_more": conv["has_more"],
            "thread": conv["thread"]["id"], "tags": conv["thread"]["tags"] })
}

#[tokio::test]
async fn who_resumes_is_told_the_same_as_who_begins_anew() {
    let seed = std::env::var("CHATBUS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CHATBUS_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let Scene { world, edge, id, mut visitor, mut staff, .. } = Scene::new().await;
    let other = world.edge().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let agent = world.agents[0];
    let mut comers =
        [Comer::new(&edge, token).await, Comer::new(&edge, world.staff_token(agent, Role::Agent)).await];
    let (mut seqs, mut unread) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for step in 0..dice.random_range(1..8) {
            let others = [&mut visitor, &mut staff];
            let who = dice.random_range(0..2);
            let one = others.into_iter().nth(who).unwrap();
            let seq = match dice.random_range(0..4) {
                0 if !seqs.is_empty() => {
                    let up_to: u64 = seqs[dice.random_range(0..seqs.len())];
                    let action = ["mark_read", "mark_delivered"][dice.random_range(0..2)];
                    let mark = json!({ "conversation_id": id, "up_to_seq": up_to });
                    assert_eq!(one.request(action, mark).await["success"], true);
                    continue;
                }
                _ => {
                    let said = message(&id, &format!("{who}-{round}-{step}"), "x");
                    one.stored(said).await["payload"]["seq"].as_u64().unwrap()
                }
            };
            seqs.push(seq);
            // Some of it they get before they are cut off.
            for comer in &mut comers {
                if dice.random_bool(0.3) {
                    comer.until(seq).await;
                }
            }
        }
        // A thread ends, and another one begins, while they are away or there.
        if round == ROUNDS / 2 {
            world.close(conversation(&id)).await;
            visitor.event("closed").await;
            assert_eq!(visitor.request("start_thread", json!({})).await["success"], true);
            world.assign(conversation(&id), agent).await;
            seqs.clear();
            // Who is given a thread asks anew.
            staff = Client::login(edge.at, &world.staff_token(agent, Role::Agent)).await.0;
            comers[1] = Comer::new(&edge, world.staff_token(agent, Role::Agent)).await;
        }
        let at = if dice.random_bool(0.5) { &edge } else { &other };
        for comer in &mut comers {
            let (told, anew) = comer.resumes(at, &id).await;
            assert_eq!(told, anew, "round {round}");
            unread += told["unread"].as_u64().unwrap();
        }
    }
    assert!(unread > 0);
}

#[tokio::test]
async fn a_short_gap_is_resumed_without_a_question_to_the_read_model() {
    let Scene { world, edge, id, mut staff, .. } = Scene::new().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let asked = asked(&world).await;
    let mut comer = Comer::new(&edge, token).await;
    let first = comer.say(&id, "v").await;
    comer.until(first).await;
    // So much of others' that the thread's beginning is not searched for.
    let elsewhere = world.home(bus_schema::ConversationId::NIL).lane(Lane::Mark).to_string();
    let fill = (0..ops::log::SEARCH_MAX).map(|_| world.log.publish(Write::new(elsewhere.clone(), "{}")));
    let filled = futures::stream::iter(fill).buffer_unordered(200);
    assert!(filled.all(|stored| async move { stored.is_ok() }).await);
    let said = staff.request("send_event", message(&id, "a-1", "Hi")).await;
    comer.until(said["payload"]["seq"].as_u64().unwrap()).await;
    staff.request("send_event", message(&id, "a-2", "Are you there?")).await;
    let before = asked.load(Ordering::SeqCst);
    let (told, anew) = comer.resumes(&edge, &id).await;
    assert_eq!(told["unread"], 2);
    assert_eq!(told["marks"], anew["marks"]);
    // Who begins anew is shown the thread from further down.
    assert_eq!((before, asked.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn who_resumes_asks_for_the_end_of_each_lane_once() {
    let Scene { world, edge, id, mut staff, .. } = Scene::new().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let mut comer = Comer::new(&edge, token).await;
    let said = staff.request("send_event", message(&id, "a-1", "Hi")).await;
    comer.until(said["payload"]["seq"].as_u64().unwrap()).await;
    comer.client = None;
    staff.request("send_event", message(&id, "a-2", "Are you there?")).await;
    // Where nobody has the conversation open.
    let other = world.edge().await;
    let question = format!("$JS.API.STREAM.MSG.GET.{}", world.log.stream());
    let mut questions = world.bus.client.subscribe(question.clone()).await.unwrap();
    world.bus.client.flush().await.unwrap();
    let resume = json!({ "resume": [{ "conversation_id": id, "cursor": comer.cursor }] });
    let (mut client, _) = Client::login_with(other.at, &comer.token, resume).await;
    assert_eq!(client.event("message").await["event"]["client_id"], "a-2");
    client.push("caught_up").await;
    world.bus.client.publish(question, "that is all".into()).await.unwrap();
    let mut asked = Vec::new();
    while let Some(question) = questions.next().await
        && question.payload != "that is all"
    {
        asked.push(String::from_utf8(question.payload.to_vec()).unwrap());
    }
    for lane in Audience::All.lanes() {
        let ends = format!("last_by_subj\":\"{}\"", world.home(conversation(&id)).lane(*lane));
        let times = asked.iter().filter(|question| question.contains(&ends)).count();
        assert_eq!(times, 1, "{lane:?}: {asked:#?}");
    }
}

#[tokio::test]
async fn more_unread_messages_than_a_cursor_holds_are_counted_all_the_same() {
    let Scene { world, edge, id, mut staff, .. } = Scene::new().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let mut comer = Comer::new(&edge, token).await;
    let mut last = 0;
    for n in 0..=UNREAD_MAX {
        let said = staff.stored(message(&id, &format!("a-{n}"), "x")).await;
        last = said["payload"]["seq"].as_u64().unwrap();
    }
    comer.until(last).await;
    staff.stored(message(&id, "a-last", "Are you there?")).await;
    let (told, anew) = comer.resumes(&edge, &id).await;
    assert_eq!((&told["unread"], &told), (&json!(UNREAD_MAX + 2), &anew));
    // Once they are read, the cursor says it again.
    comer.ask("mark_read", json!({ "conversation_id": id, "up_to_seq": last })).await;
    let push = comer.client.as_mut().unwrap().event("read").await;
    comer.cursor = push["cursor"].clone();
    let (told, anew) = comer.resumes(&edge, &id).await;
    assert_eq!((&told["unread"], &told), (&json!(1), &anew));
}

#[tokio::test]
async fn what_was_counted_without_the_read_model_is_not_carried_on() {
    let Scene { world, edge, id, mut staff, .. } = Scene::new().await;
    let token = world.session(&edge, [1; 32], json!({})).await["token"].as_str().unwrap().to_owned();
    let said = staff.stored(message(&id, "a-1", "Hi")).await;
    let trimmed = said["payload"]["seq"].as_u64().unwrap();
    raise_horizon(&world.bus, world.log.shard(), trimmed).await.unwrap();
    let asked = asked(&world).await;
    let mut comer = Comer::new(&edge, token).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what lies below the horizon is nowhere else");
    staff.stored(message(&id, "a-2", "Are you there?")).await;
    let (told, anew) = comer.resumes(&edge, &id).await;
    assert_eq!(told, anew);
    // Both asked for it, since the cursor did not say what was not known.
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// Counts what the read model is asked, which there is none of.
async fn asked(world: &World) -> Arc<AtomicUsize> {
    let client = world.bus.client.clone();
    let mut requests = client.subscribe(subject::history_of_shard(world.log.shard())).await.unwrap();
    client.flush().await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while requests.next().await.is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    asked
}
