//! Reading on, whatever comes: duplicates, poison, races, restarts of the bus, and logs that disagree.

use bus_schema::{EventId, Lane, stream};

use crate::{
    story::{Story, start, tell},
    world::{SHARD, World, number, provision, rows},
};

#[tokio::test(flavor = "multi_thread")]
async fn acked_is_stored_once_by_id_and_the_lowest_sequence_counts() {
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let message = story.message(story.by_visitor(), "once");
    let first = world.store(story.lane(Lane::Msg), &message).await;
    let again = world.store(story.lane(Lane::Msg), &message).await;
    let persister = world.persister();
    world.reaches(again).await;
    // Once more, now that the first is in the table and not in the same batch.
    let late = world.store(story.lane(Lane::Msg), &message).await;
    world.reaches(late).await;
    let mut sql = world.sql().await;
    let seqs = rows(&mut sql, "SELECT seq::text AS row FROM events WHERE kind = 'message'").await;
    assert_eq!(seqs, [first.to_string()]);
    assert_eq!(number(&mut sql, "SELECT visitor_messages FROM threads").await, 1);
    assert_eq!(number(&mut sql, "SELECT n FROM daily_counters WHERE metric = 'messages_visitor'").await, 1);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_parked_with_its_reason_and_reading_goes_on() {
    let world = World::new().await;
    let mut story = Story::new(1);
    let mut foreign = Story::new(2).message(story.by_visitor(), "whose?");
    foreign.tenant_id = bus_schema::TenantId::from_uuid(crate::story::uuid(1, 99));
    let msg = story.lane(Lane::Msg).to_string();
    world.store_raw(&msg, b"no JSON \xff\x00".to_vec()).await;
    world.store_raw(&msg, br#"{"v":1,"kind":"message"}"#.to_vec()).await;
    world.store_raw("chat.v1.0.nonsense", b"{}".to_vec()).await;
    world.store_raw(&msg, foreign.encode()).await;
    let good = story.message(story.by_visitor(), "fine");
    let unknown = String::from_utf8(story.message(story.by_visitor(), "new").encode()).unwrap();
    world
        .store_raw(&msg, unknown.replace(r#""kind":"message""#, r#""kind":"from_the_future""#).into_bytes())
        .await;
    let last = world.store(story.lane(Lane::Msg), &good).await;

    let persister = world.persister();
    world.reaches(last).await;
    persister.is_ready().await;
    let mut sql = world.sql().await;
    let parked = rows(&mut sql, "SELECT concat_ws(' ', seq, reason) AS row FROM parked ORDER BY seq").await;
    assert_eq!(parked.len(), 4, "{parked:?}");
    assert!(parked[0].starts_with("1 not UTF-8"), "{parked:?}");
    assert!(parked[1].starts_with("2 not an event: missing field"), "{parked:?}");
    assert!(parked[2].starts_with("3 not a subject"), "{parked:?}");
    assert!(parked[3].starts_with("4 says it belongs to another tenant"), "{parked:?}");
    let kept = rows(&mut sql, "SELECT kind AS row FROM events ORDER BY seq").await;
    assert_eq!(kept, ["from_the_future", "message"]);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_persisters_cannot_both_win() {
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let (one, two) = (world.persister(), world.persister());
    let last = tell(&world, &mut story, 300).await;
    world.reaches(last).await;
    one.is_ready().await;
    two.is_ready().await;
    let mut sql = world.sql().await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 300);
    assert_eq!(number(&mut sql, "SELECT visitor_messages FROM threads").await, 300);
    assert_eq!(number(&mut sql, "SELECT n FROM daily_counters WHERE metric = 'messages_visitor'").await, 300);
    one.stop().await;
    let last = tell(&world, &mut story, 10).await;
    world.reaches(last).await;
    assert_eq!(number(&mut sql, "SELECT visitor_messages FROM threads").await, 310);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_made_anew_halts_it_loudly_and_nothing_is_written() {
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let last = tell(&world, &mut story, 5).await;
    let persister = world.persister();
    world.reaches(last).await;
    let context = async_nats::jetstream::new(world.bus.client.clone());
    context.delete_stream(stream::log_name(SHARD)).await.unwrap();
    provision(&world.bus).await;
    tell(&world, &mut story, 20).await;
    persister.says("its epoch is").await;
    assert!(!persister.context.health.is_ready());
    let mut sql = world.sql().await;
    assert_eq!(number(&mut sql, "SELECT seq FROM watermark").await, i64::try_from(last).unwrap());
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 5);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_other_events_or_a_later_beginning_halts_it() {
    let world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let last = tell(&world, &mut story, 5).await;
    let persister = world.persister();
    world.reaches(last).await;
    persister.stop().await;
    let mut sql = world.sql().await;

    // As after a restore of an older database: what was kept there is not what the log has at that place.
    let other = EventId::from_uuid(crate::story::uuid(9, 1));
    diesel_async::RunQueryDsl::execute(
        diesel::sql_query(format!("UPDATE watermark SET id = '{other}'")),
        &mut sql,
    )
    .await
    .unwrap();
    let persister = world.persister();
    persister.says("another event is at the watermark").await;
    persister.stop().await;

    // As if what had never been read was removed.
    let back = "UPDATE watermark SET seq = 1, id = (SELECT id FROM events WHERE seq = 1), \
                at = (SELECT at FROM events WHERE seq = 1), subject = replace(subject, 'all.msg', 'all.life')";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(back), &mut sql).await.unwrap();
    let context = async_nats::jetstream::new(world.bus.client.clone());
    let log = context.get_stream(stream::log_name(SHARD)).await.unwrap();
    log.purge().sequence(4).await.unwrap();
    let persister = world.persister();
    persister.says("2 messages were never read").await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_bus_changes_nothing() {
    let mut world = World::new().await;
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let persister = world.persister();
    let last = tell(&world, &mut story, 5).await;
    world.reaches(last).await;
    world.restart_bus().await;
    let last = tell(&world, &mut story, 5).await;
    world.reaches(last).await;
    persister.is_ready().await;
    let mut sql = world.sql().await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 10);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_event_at_a_sequence_that_is_kept_halts_it() {
    let world = World::new().await;
    let mut story = Story::new(1);
    let last = start(&world, &mut story).await;
    let persister = world.persister();
    world.reaches(last).await;
    persister.stop().await;
    // As if the watermark had been put back by hand, over an event that is not the one of the log.
    let mut sql = world.sql().await;
    for spoil in ["UPDATE events SET id = gen_random_uuid()", "DELETE FROM watermark"] {
        diesel_async::RunQueryDsl::execute(diesel::sql_query(spoil), &mut sql).await.unwrap();
    }
    let persister = world.persister();
    persister.says("has another event at a sequence").await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM watermark").await, 0);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_refuses_is_parked_alone_and_all_else_is_written() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let refuse = "ALTER TABLE messages ADD CONSTRAINT refuses CHECK (text <> 'unfit')";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(refuse), &mut sql).await.unwrap();
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    tell(&world, &mut story, 40).await;
    let message = story.message(story.by_visitor(), "unfit");
    let unfit = world.store(story.lane(Lane::Msg), &message).await;
    let last = tell(&world, &mut story, 40).await;
    let persister = world.persister();
    world.reaches(last).await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 80);
    assert_eq!(number(&mut sql, "SELECT visitor_messages FROM threads").await, 80);
    let parked = rows(&mut sql, "SELECT concat_ws(' ', seq, reason) AS row FROM parked").await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert!(parked[0].starts_with(&format!("{unfit} Postgres refused")), "{parked:?}");
    assert_eq!(number(&mut sql, &format!("SELECT count(*) FROM events WHERE seq = {unfit}")).await, 0);
    // Also where it is the last thing read before a start.
    let again = story.message(story.by_visitor(), "unfit");
    let unfit = world.store(story.lane(Lane::Msg), &again).await;
    world.reaches(unfit).await;
    persister.stop().await;
    let persister = world.persister();
    let last = tell(&world, &mut story, 1).await;
    world.reaches(last).await;
    persister.is_ready().await;
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_is_refused_it_stops_parking_and_says_so() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let refuse = "ALTER TABLE messages ADD CONSTRAINT refuses CHECK (false)";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(refuse), &mut sql).await.unwrap();
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let last = tell(&world, &mut story, 40).await;
    let persister = world.persister();
    persister.says("violates check constraint").await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM parked").await, 16);
    assert!(!persister.context.health.is_ready());
    let mend = "ALTER TABLE messages DROP CONSTRAINT refuses";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(mend), &mut sql).await.unwrap();
    world.reaches(last).await;
    assert_eq!(number(&mut sql, "SELECT count(*) FROM messages").await, 40 - 16);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_never_read_past() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let refuse = "ALTER TABLE visitors ADD CONSTRAINT refuses CHECK (erased_at IS NULL)";
    diesel_async::RunQueryDsl::execute(diesel::sql_query(refuse), &mut sql).await.unwrap();
    let mut story = Story::new(1);
    start(&world, &mut story).await;
    let erased = story.erased();
    let last = world.store(story.visitors(), &erased).await;
    let persister = world.persister();
    persister.says("violates check constraint").await;
    assert_eq!(number(&mut sql, "SELECT seq FROM watermark").await, i64::try_from(last).unwrap() - 1);
    assert_eq!(number(&mut sql, "SELECT count(*) FROM parked").await, 0);
    persister.stop().await;
}
