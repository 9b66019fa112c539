//! What each kind of event does to the read model.

use std::path::Path;

use bus_schema::{Body, Event, Lane, Subject, event::*, subject::ConversationSubjects};

use crate::{
    story::Story,
    world::{SHARD, World, number, rows},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_projected_from_start_to_close() {
    let world = World::new().await;
    let mut story = Story::new(1);
    let seen = story.seen("Ada");
    world.store(story.visitors(), &seen).await;
    let started = story.started();
    let started_seq = world.store(story.lane(Lane::Life), &started).await;
    let hello = story.message(story.by_visitor(), "Hello?\u{0}");
    world.store(story.lane(Lane::Msg), &hello).await;
    let decided = story.decided();
    world.store(story.lane(Lane::Desk), &decided).await;
    let load = story.load(1);
    world.store(story.agents(), &load).await;
    let assigned = story.assigned(started_seq);
    world.store(story.lane(Lane::Life), &assigned).await;
    let answer = story.message(story.by_agent(), "Good morning");
    let answer_seq = world.store(story.lane(Lane::Msg), &answer).await;
    let note = story.note("a regular");
    world.store(story.lane(Lane::Note), &note).await;
    let read = story.event(story.by_visitor(), Body::Read(Read { up_to_seq: answer_seq }));
    world.store(story.lane(Lane::Mark), &read).await;
    let closed = story.closed(started_seq);
    world.store(story.lane(Lane::Life), &closed).await;
    let rated =
        story.event(story.by_visitor(), Body::Rated(Rated { score: 5, comment: Some("thanks".into()) }));
    let last = world.store(story.lane(Lane::Msg), &rated).await;

    let persister = world.persister();
    world.reaches(last).await;
    let mut sql = world.sql().await;
    let mut one = async |query: &str| rows(&mut sql, query).await.join("|");
    assert_eq!(
        one("SELECT concat_ws(' ', status, assignee_id, last_message_seq) AS row FROM conversations").await,
        format!("closed {answer_seq}")
    );
    assert_eq!(
        one("SELECT concat_ws(' ', status, source, started_seq, close_reason, closed_by_type, visitor_messages,
             agent_messages, priority, first_response_at IS NOT NULL, first_assigned_at IS NOT NULL) AS row FROM threads").await,
        format!("closed widget {started_seq} resolved agent 1 1 high t t"));
    assert_eq!(
        one("SELECT concat_ws(' ', visibility, text) AS row FROM messages ORDER BY seq").await,
        "all Hello?\u{FFFD}|all Good morning|agents a regular"
    );
    assert_eq!(
        one("SELECT concat_ws(' ', author_type, delivered_seq, read_seq) AS row FROM marks").await,
        format!("visitor 0 {answer_seq}")
    );
    assert_eq!(
        one("SELECT concat_ws(' ', agent_id, ended_by) AS row FROM assignments").await,
        format!("{} closed", story.agent)
    );
    assert_eq!(
        one("SELECT concat_ws(' ', strategy, rule, chosen_id, decision->>'took_us') AS row FROM decisions")
            .await,
        format!("least_loaded least_loaded {} 42", story.agent)
    );
    assert_eq!(one("SELECT concat_ws(' ', name, verified, banned) AS row FROM visitors").await, "Ada f f");
    assert_eq!(
        one("SELECT concat_ws(' ', status, chosen_status, capacity, load) AS row FROM agent_states").await,
        "offline accepting 5 1"
    );
    assert_eq!(one("SELECT concat_ws(' ', score, comment) AS row FROM ratings").await, "5 thanks");
    assert_eq!(
        one("SELECT concat_ws(' ', metric, n) AS row FROM daily_counters ORDER BY metric").await,
        "assignments 1|messages_agent 1|messages_visitor 1|notes 1|threads_closed 1|threads_started 1"
    );
    let stored = one("SELECT payload AS row FROM events WHERE kind = 'message' ORDER BY seq LIMIT 1").await;
    assert_eq!(stored.as_bytes(), hello.encode());
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_are_applied_and_purging_removes_the_bytes() {
    let world = World::new().await;
    let mut story = Story::new(1);
    let started = story.started();
    world.store(story.lane(Lane::Life), &started).await;
    let mut targets = Vec::new();
    for text in ["edited", "deleted", "purged"] {
        let message = story.message(story.by_visitor(), text);
        world.store(story.lane(Lane::Msg), &message).await;
        targets.push(message.id);
    }
    let edit = |target_id, text: &str| Body::MessageEdited(MessageEdited { target_id, text: text.into() });
    let delete = |target_id, purge| Body::MessageDeleted(MessageDeleted { target_id, purge });
    for body in [
        edit(targets[0], "first"),
        edit(targets[0], "second"),
        delete(targets[1], false),
        edit(targets[1], "too late"),
        edit(targets[2], "also to go"),
        delete(targets[2], true),
    ] {
        let event = story.event(story.by_visitor(), body);
        world.store(story.lane(Lane::Msg), &event).await;
    }
    // Of another conversation: touches nothing.
    let mut other = Story::new(2);
    let foreign = other.event(other.by_visitor(), edit(targets[0], "not mine"));
    let last = world.store(other.lane(Lane::Msg), &foreign).await;

    let persister = world.persister();
    world.reaches(last).await;
    let mut sql = world.sql().await;
    let query = "SELECT concat_ws(' ', coalesce(text, '-'), edited_seq, deleted_seq, purged) AS row FROM messages ORDER BY seq";
    assert_eq!(rows(&mut sql, query).await, ["second 6 f", "- 7 f", "- 9 10 t"]);
    let gone = rows(&mut sql, "SELECT seq::text AS row FROM events WHERE payload IS NULL ORDER BY seq").await;
    assert_eq!(gone, ["4", "9"]);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_visitor_leaves_no_personal_data_and_others_stay() {
    let world = World::new().await;
    let (mut story, mut other) = (Story::new(1), Story::new(2));
    let mut last = 0;
    for story in [&mut story, &mut other] {
        let (seen, started) = (story.seen("Ada"), story.started());
        let message = story.message(story.by_visitor(), "my name is Ada");
        world.store(story.visitors(), &seen).await;
        world.store(story.lane(Lane::Life), &started).await;
        world.store(story.lane(Lane::Msg), &message).await;
    }
    let erased = story.erased();
    world.store(story.visitors(), &erased).await;
    for story in [&mut story, &mut other] {
        let after = story.message(story.by_visitor(), "back again");
        last = world.store(story.lane(Lane::Msg), &after).await;
    }
    let persister = world.persister();
    world.reaches(last).await;
    let mut sql = world.sql().await;
    let of = |story: &Story| format!("conversation_id = '{}'", story.conversation);
    let texts = async |sql: &mut _, story: &Story| {
        rows(sql, &format!("SELECT text AS row FROM messages WHERE {} ORDER BY seq", of(story))).await
    };
    assert_eq!(texts(&mut sql, &story).await, ["back again"]);
    assert_eq!(texts(&mut sql, &other).await, ["my name is Ada", "back again"]);
    let named = "SELECT count(*) FROM events WHERE payload LIKE '%Ada%'";
    assert_eq!(number(&mut sql, named).await, 2, "the other visitor's two");
    let names = rows(&mut sql, "SELECT coalesce(name, '-') AS row FROM visitors ORDER BY id").await;
    assert_eq!(names, ["-", "Ada"]);
    persister.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frozen_example_of_every_kind_is_kept() {
    let world = World::new().await;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bus-schema/tests/golden/v1");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), Kind::ALL.len());
    let mut last = 0;
    for (n, path) in paths.iter().enumerate() {
        let payload = std::fs::read(path).unwrap();
        // The examples share one id and have no start before them; each becomes an event of its own.
        let mut event = Event::decode(&payload).unwrap();
        event.id = bus_schema::EventId::from_uuid(crate::story::uuid(9, n as u64));
        let (shard, tenant) = (SHARD, event.tenant_id);
        let subject = match (event.body.agent_state(), event.body.visitor_record(), event.conversation_id) {
            (Some(state), _, _) => Subject::Agent { shard, tenant, agent: state.agent_id },
            (_, Some(record), _) => Subject::Visitor { shard, tenant, visitor: record.visitor_id },
            (_, _, Some(conversation)) => {
                let lane = event.body.kind().and_then(|kind| kind.lane(event.visibility)).unwrap();
                ConversationSubjects { shard, tenant, conversation }.lane(lane)
            }
            _ => panic!("{} has no home", path.display()),
        };
        last = world.store(subject, &event).await;
    }
    let persister = world.persister();
    world.reaches(last).await;
    let mut sql = world.sql().await;
    assert_eq!(rows(&mut sql, "SELECT reason AS row FROM parked").await, Vec::<String>::new());
    let kinds = number(&mut sql, "SELECT max(n) FROM (SELECT count(DISTINCT kind) AS n FROM events) k").await;
    // The visitor's erasure takes the visitor's earlier events with it.
    assert!(kinds >= 35, "{kinds}");
    persister.stop().await;
}
