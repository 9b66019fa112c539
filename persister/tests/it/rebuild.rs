//! `read-model-is-the-log`: what is rebuilt equals what is kept, and a difference is seen.

use bus_schema::{Body, Lane, event::*};
use ops::{
    service::Context,
    testing::{Process, wait_for},
};

use crate::{
    story::Story,
    world::{SOON, World, number},
};

/// Everything a few visitors can do, all mixed up, so that batches cut it anywhere.
async fn live(world: &World, visitors: u64) -> u64 {
    let mut stories: Vec<Story> = (1..=visitors).map(Story::new).collect();
    let mut starts = Vec::new();
    for story in &mut stories {
        let seen = story.seen("Ada");
        world.store(story.visitors(), &seen).await;
        let started = story.started();
        starts.push(world.store(story.lane(Lane::Life), &started).await);
    }
    for round in 0..4_u64 {
        for (at, story) in stories.iter_mut().enumerate() {
            let message = story.message(story.by_visitor(), &format!("round {round}"));
            let seq = world.store(story.lane(Lane::Msg), &message).await;
            world.store(story.lane(Lane::Msg), &message).await;
            let (visitor, agent) = (story.by_visitor(), story.by_agent());
            let next = match (round + at as u64) % 7 {
                0 => (Lane::Desk, story.decided()),
                1 => (Lane::Life, story.assigned(starts[at])),
                2 => (Lane::Mark, story.event(agent, Body::Read(Read { up_to_seq: seq }))),
                3 => {
                    let edit = MessageEdited { target_id: message.id, text: "edited".to_owned() };
                    (Lane::Msg, story.event(visitor, Body::MessageEdited(edit)))
                }
                4 => {
                    let delete = MessageDeleted { target_id: message.id, purge: round % 2 == 0 };
                    (Lane::Msg, story.event(visitor, Body::MessageDeleted(delete)))
                }
                5 => (Lane::Note, story.note("a note")),
                _ => (Lane::Msg, story.event(visitor, Body::Rated(Rated { score: 4, comment: None }))),
            };
            world.store(story.lane(next.0), &next.1).await;
        }
    }
    let load = stories[0].load(1);
    world.store(stories[0].agents(), &load).await;
    let erased = stories[0].erased();
    world.store(stories[0].visitors(), &erased).await;
    let mut last = world.store_raw(&stories[0].lane(Lane::Msg).to_string(), b"poison".to_vec()).await;
    for (story, start) in stories.iter_mut().zip(&starts) {
        let closed = story.closed(*start);
        last = world.store(story.lane(Lane::Life), &closed).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn read_model_is_the_log() {
    let world = World::new().await;
    let persister = world.persister();
    let last = live(&world, 20).await;
    world.reaches(last).await;
    // Beside a running persister, and with more to come.
    persister::check(Context::new(world.settings()), Vec::new()).await.unwrap();
    let mut story = Story::new(99);
    let started = story.started();
    let last = world.store(story.lane(Lane::Life), &started).await;
    world.reaches(last).await;
    persister.stop().await;
    persister::check(Context::new(world.settings()), vec!["--json".to_owned()]).await.unwrap();

    let mut sql = world.sql().await;
    let spoilt = "UPDATE messages SET text = 'somebody was here' WHERE seq = (SELECT min(seq) FROM messages)";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(spoilt), &mut sql).await.unwrap();
    let error = persister::check(Context::new(world.settings()), Vec::new()).await.unwrap_err();
    assert!(error.to_string().starts_with("1 tables of schema chat differ"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_between_and_within_batches_lose_and_double_nothing() {
    let world = World::new().await;
    let mut process = Process::builder("persister")
        .env("CHATBUS_NATS_URL", world.nats.url())
        .env("CHATBUS_NATS_CREDS_FILE", world.persister_key())
        .env("CHATBUS_DATABASE_URL", world.database())
        .env("CHATBUS_OPS_LISTEN", "127.0.0.1:0")
        .spawn()
        .unwrap();
    let mut sql = world.sql().await;
    let mut last = 0;
    for round in 0..5 {
        let mut story = Story::new(round + 100);
        let started = story.started();
        world.store(story.lane(Lane::Life), &started).await;
        for at in 0..200 {
            let message = story.message(story.by_visitor(), &format!("message {at}"));
            last = world.store(story.lane(Lane::Msg), &message).await;
        }
        wait_for(SOON, "some of it to arrive", async || {
            number(&mut sql, "SELECT count(DISTINCT conversation_id) FROM messages").await > round as i64
        })
        .await;
        process.restart().unwrap();
    }
    world.reaches(last).await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 1000);
    assert_eq!(number(&mut sql, "SELECT sum(visitor_messages) FROM threads").await, 1000);
    process.kill();
    persister::check(Context::new(world.settings()), Vec::new()).await.unwrap();
}
