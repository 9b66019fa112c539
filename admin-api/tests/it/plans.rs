//! Lists read through what they show, not through the tenant: their plans, as Postgres ran them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ops::testing::wait_for;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::world::{BusServer, Person, World};

const SOON: Duration = Duration::from_secs(10);
/// Of the tenant. One in twenty is open.
const CONVERSATIONS: i64 = 40_000;
/// What a step of a plan may read or throw away: 41 conversations for each of a page of 51.
const READ_MAX: u64 = 2_200;
const LARGE: [&str; 7] = ["conversations", "threads", "messages", "events", "marks", "tags", "visitors"];
const TELL: [&str; 4] = [
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_timing = off",
];
/// The last that is asked for a list: what is unread.
const LAST: &str = "GROUP BY c.id";
/// And for an admin's counts.
const LAST_COUNTED: &str = r#"FROM "config"."widgets""#;
/// What a step of those may read.
const COUNTED_MAX: u64 = 10_001;

/// `$1` tenant, `$2` common group, `$3` rare group, `$4` an agent with a tenth of what is open, `$5` who joined one, `$6`
/// common tag, `$7` rare tag, `$8` how many. What is rare is the oldest.
const SEED: &str = "WITH made AS (
        SELECT n, md5('c' || n)::uuid AS id, md5('t' || n)::uuid AS thread, md5('v' || n)::uuid AS visitor,
            n % 20 = 0 AS active,
            CASE WHEN n <= 3 THEN $3::uuid WHEN n % 5 = 0 THEN $2::uuid ELSE md5('g' || n % 9)::uuid END AS of_group,
            CASE WHEN n % 200 = 0 THEN $4::uuid WHEN n % 20 = 0 THEN md5('a' || n % 7)::uuid END AS held,
            '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute' AS at
        FROM generate_series(1, $8::bigint) n),
    c AS (INSERT INTO chat.conversations (tenant_id, id, visitor_id, created_at, thread_id, status, group_id,
            assignee_id, participants, life_seq, last_at, last_seq)
        SELECT $1::uuid, id, visitor, at, thread, CASE WHEN active THEN 'active' ELSE 'closed' END, of_group, held,
            CASE WHEN n = 40 THEN ARRAY[held, $5::uuid] WHEN active THEN ARRAY[held] ELSE '{}' END, n, at, n FROM made),
    t AS (INSERT INTO chat.threads (tenant_id, id, conversation_id, visitor_id, status, participants, life_seq,
            started_at, started_seq)
        SELECT $1::uuid, thread, id, visitor, 'active', '{}', n, at, n FROM made),
    m AS (INSERT INTO chat.messages (tenant_id, conversation_id, seq, id, thread_id, at, kind, author_type, author_id,
            visibility, text)
        SELECT $1::uuid, id, n, thread, thread, at, 'message', 'visitor', visitor, 'all', 'hello' FROM made),
    k AS (INSERT INTO chat.marks (tenant_id, conversation_id, author_type, author_id, delivered_seq, read_seq, seq, at)
        SELECT $1::uuid, id, 'visitor', visitor, n, n, n, at FROM made),
    v AS (INSERT INTO chat.visitors (tenant_id, id, conversation_id, custom, verified, banned, first_seen_at,
            last_seen_at, seq)
        SELECT $1::uuid, visitor, id, '{}', false, false, at, at, n FROM made)
    INSERT INTO chat.tags (tenant_id, thread_id, tag_id, conversation_id, present, seq, at, author_type, author_id)
        SELECT $1::uuid, thread, CASE WHEN n <= 30 THEN $7::uuid ELSE $6::uuid END, id, true, n, at, 'agent', $4::uuid
        FROM made WHERE n <= 30 OR n % 3 = 0";

struct Scene {
    world: World,
    /// Whose database it is.
    _quiet: World,
    sql: Client,
    ann: Person,
    bob: Person,
    eve: Person,
    /// The common one and the rare one.
    groups: [String; 2],
    tags: [Uuid; 2],
}

/// Ann sees all, Bob the common group, Eve the rare group and one conversation that she joined.
async fn scene() -> Scene {
    let quiet = World::alone().await;
    let sql = quiet.postgres().await;
    tell(&sql).await;
    let ann = quiet.register("acme").await;
    let [bob, eve] = [quiet.agent(&ann, "bob", "agent").await, quiet.agent(&ann, "eve", "agent").await];
    let mut groups = [String::new(), String::new()];
    for (group, (name, member)) in groups.iter_mut().zip([("Common", &bob), ("Rare", &eve)]) {
        *group = quiet.post(&ann, "/v1/groups", json!({ "name": name })).await.is(201).id();
        let path = format!("/v1/groups/{group}/members/{}", member.id);
        quiet.call(Method::PUT, &ann, &path, json!({})).await.is(200);
    }
    let tags = [Uuid::from_u128(0xc0), Uuid::from_u128(0xa0)];
    let uuid = |text: &str| text.parse::<Uuid>().unwrap();
    let (tenant, common, rare) = (uuid(&ann.tenant), uuid(&groups[0]), uuid(&groups[1]));
    let (bob_id, eve_id) = (uuid(&bob.id), uuid(&eve.id));
    sql.execute(SEED, &[&tenant, &common, &rare, &bob_id, &eve_id, &tags[0], &tags[1], &CONVERSATIONS])
        .await
        .unwrap();
    for table in LARGE {
        sql.batch_execute(&format!("VACUUM ANALYZE chat.{table}")).await.unwrap();
    }
    // Only who connects from now on is told to explain.
    let world = World::beside(&quiet).await;
    Scene { world, _quiet: quiet, sql, ann, bob, eve, groups, tags }
}

/// Tests that read the log of their one Postgres take turns, so that none finds the plans of another.
async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// Whoever connects from now on explains what it asks.
async fn tell(sql: &Client) {
    let database: String = sql.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    for setting in TELL {
        sql.batch_execute(&format!("ALTER DATABASE {database} SET {setting}")).await.unwrap();
    }
}

async fn log_size(sql: &Client) -> i64 {
    let size = "SELECT (pg_stat_file(current_setting('data_directory') || '/../postgres.log')).size";
    sql.query_one(size, &[]).await.unwrap().get(0)
}

/// What Postgres's log says beyond `from`.
async fn said(sql: &Client, from: i64) -> String {
    let read =
        "SELECT convert_from(pg_read_binary_file(current_setting('data_directory') || '/../postgres.log', $1,
        1 << 28), 'UTF8')";
    sql.query_one(read, &[&from]).await.unwrap().get(0)
}

/// The plans of what a request asks, up to this last question, and the answer.
async fn plans(world: &World, sql: &Client, who: &Person, path: &str, last: &str) -> (String, Value) {
    let from = log_size(sql).await;
    let shown = world.get(who, path).await.is(200).body;
    let said = wait_for(SOON, "the plan of the last statement", async || {
        let said = said(sql, from).await;
        let whole =
            said.rsplit_once(last).is_some_and(|(_, plan)| plan.ends_with('\n') && plan.contains("(actual"));
        if whole { Ok(said) } else { Err(said) }
    });
    (said.await, shown)
}

impl Scene {
    async fn plans(&self, who: &Person, path: &str, last: &str) -> (String, Value) {
        plans(&self.world, &self.sql, who, path, last).await
    }
}

/// Everything in these plans that reads more than it needs, in all of its loops.
fn faults(plans: &str, read_max: u64) -> Vec<&str> {
    // Postgres says for each loop how many, and of rows it may say a fraction.
    let after = |line: &str, word: &str| {
        let rest = line.split_once(word)?.1;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse::<f64>().ok()
    };
    // The configuration has a small table of the same name as a large one, and it is read now and then.
    let mut of_config = false;
    let mut loops = 1.0;
    let is_fault = |line: &&str| {
        if line.contains("Query Text: ") {
            of_config = line.contains(r#" FROM "config"."#);
        }
        // What was not run, but explained, reads nothing.
        let through = !of_config
            && line.contains("(actual ")
            && LARGE.iter().any(|table| {
                line.split_once("Seq Scan on ").is_some_and(|(_, rest)| rest.split(' ').next() == Some(table))
            });
        let actual = line.split_once("(actual rows=").map_or("", |(_, rest)| rest);
        loops = after(actual, "loops=").unwrap_or(loops);
        let thrown = after(line, "Rows Removed by Filter: ").unwrap_or(0.0);
        let read = after(line, "(actual rows=").unwrap_or(0.0);
        through || thrown.max(read) * loops > read_max as f64
    };
    plans.lines().filter(is_fault).collect()
}

fn cursor(at_minute: i64) -> String {
    let at = 1_767_225_600_000 + at_minute * 60_000;
    let mut bytes = vec![1];
    bytes.extend_from_slice(&at.to_be_bytes());
    bytes.extend_from_slice(&[0x80; 16]);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_filter_of_the_list_of_conversations_nor_counting_them_reads_the_tenant_through() {
    let _turn = turn().await;
    let scene = scene().await;
    let [common, rare] = &scene.groups;
    let [much, little] = scene.tags;
    let absent = Uuid::from_u128(7);
    let deep = cursor(300);
    let (bob, eve) = (&scene.bob.id, &scene.eve.id);
    // Who asks for what, and how many there are to see.
    let cases = [
        (&scene.ann, String::new(), 50),
        (&scene.ann, format!("cursor={deep}"), 50),
        (&scene.ann, "status=open".to_owned(), 50),
        (&scene.ann, "status=active".to_owned(), 50),
        (&scene.ann, "status=queued".to_owned(), 0),
        (&scene.ann, "status=closed".to_owned(), 50),
        (&scene.ann, format!("group_id={common}"), 50),
        (&scene.ann, format!("group_id={common}&cursor={deep}"), 50),
        (&scene.ann, format!("group_id={rare}"), 3),
        (&scene.ann, format!("group_id={absent}"), 0),
        (&scene.ann, format!("agent_id={bob}"), 50),
        (&scene.ann, format!("agent_id={eve}"), 0),
        (&scene.ann, format!("agent_id={bob}&status=closed"), 0),
        (&scene.ann, format!("tag_id={much}"), 50),
        (&scene.ann, format!("tag_id={little}"), 30),
        (&scene.ann, format!("tag_id={absent}"), 0),
        (&scene.ann, format!("visitor_id={absent}"), 0),
        (&scene.ann, "from=2026-01-02T00:00:00Z&to=2026-01-02T00:30:00Z".to_owned(), 30),
        (&scene.ann, "from=2030-01-02T00:00:00Z".to_owned(), 0),
        (&scene.ann, "view=mine".to_owned(), 0),
        (&scene.bob, String::new(), 50),
        (&scene.bob, "view=mine".to_owned(), 50),
        (&scene.bob, format!("group_id={common}&status=open"), 50),
        (&scene.bob, format!("tag_id={little}"), 6),
        (&scene.eve, String::new(), 4),
        (&scene.eve, "view=mine".to_owned(), 1),
        (&scene.eve, format!("group_id={common}"), 1),
        (&scene.eve, format!("tag_id={absent}"), 0),
    ];
    let mut bad = Vec::new();
    for (who, filter, there) in cases {
        let (plans, shown) = scene.plans(who, &format!("/v1/conversations?{filter}"), LAST).await;
        let shown = shown["data"].as_array().unwrap().len();
        let faults = faults(&plans, READ_MAX);
        if shown != there || !faults.is_empty() {
            bad.push(format!("?{filter}: shows {shown} of {there}, {faults:#?} in\n{plans}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    let (plans, counts) = scene.plans(&scene.ann, "/v1/admin/stats", LAST_COUNTED).await;
    let faults = faults(&plans, COUNTED_MAX);
    assert!(faults.is_empty(), "{faults:#?} in\n{plans}");
    let of = |status: &str| counts["conversations"][status].as_i64().unwrap_or(0);
    assert_eq!((of("active"), of("queued")), (CONVERSATIONS / 20, 0));
    let closed = CONVERSATIONS - CONVERSATIONS / 20;
    assert!((of("closed") - closed).abs() < closed / 10, "about {closed}: {counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_visitors_does_not_read_the_tenant_through_for_agents_who_see_little() {
    let _turn = turn().await;
    let scene = scene().await;
    let zoe = scene.world.agent(&scene.ann, "zoe", "agent").await;
    let deep = cursor(300);
    let (all, each, gathered) = (
        r#"ORDER BY "chat"."visitors"."last_seen_at" DESC"#,
        "EXISTS (SELECT FROM chat.conversations c",
        "SELECT c.visitor_id FROM chat.conversations c",
    );
    // Who asks for what, what is asked last for it, and how many there are to see.
    let cases = [
        (&scene.ann, String::new(), all, 50),
        (&scene.ann, format!("cursor={deep}"), all, 50),
        (&scene.bob, String::new(), each, 50),
        (&scene.bob, format!("cursor={deep}"), each, 50),
        (&scene.eve, String::new(), gathered, 4),
        (&scene.eve, format!("cursor={deep}"), each, 4),
        (&zoe, String::new(), gathered, 0),
        (&zoe, format!("cursor={deep}"), each, 0),
    ];
    let mut bad = Vec::new();
    for (who, query, last, there) in cases {
        let (plans, shown) = scene.plans(who, &format!("/v1/visitors?{query}"), last).await;
        let shown = shown["data"].as_array().unwrap().len();
        let faults = faults(&plans, READ_MAX);
        if shown != there || !faults.is_empty() {
            bad.push(format!("{} ?{query}: shows {shown} of {there}, {faults:#?} in\n{plans}", who.email));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// One conversation in which much was said: `$1` tenant, `$2` conversation, `$3` thread, `$4` how many messages. Every
/// thousandth is followed by what routing did.
const LONG: &str = "INSERT INTO chat.events (tenant_id, seq, at, id, lane, subject_id, conversation_id, thread_id, kind,
        author_type, author_id, visibility, payload)
    SELECT $1::uuid, n * 10 + o, now(), gen_random_uuid(), lane, $2::uuid, $2::uuid, $3::uuid, kind, 'agent', $3::uuid, 'all',
        format('{\"author\":{\"type\":\"agent\",\"id\":\"%s\"},\"data\":%s}', $3::uuid, data)
    FROM generate_series(1, $4::bigint) n,
        (VALUES (1, 'msg', 'message', '{}'), (2, 'life', 'assigned', format('{\"agent_id\":\"%s\"}', $3::uuid)),
            (3, 'desk', 'decided', '{}')) v (o, lane, kind, data)
    WHERE lane = 'msg' OR n % 1000 = 0";
const SAID: i64 = 40_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_routing_did_is_not_looked_for_among_all_that_was_said() {
    let _turn = turn().await;
    let scene = scene().await;
    let tenant = scene.ann.tenant.parse::<Uuid>().unwrap();
    let made = "SELECT md5('c40000')::uuid, md5('t40000')::uuid";
    let row = scene.sql.query_one(made, &[]).await.unwrap();
    let (conversation, thread): (Uuid, Uuid) = (row.get(0), row.get(1));
    scene.sql.execute(LONG, &[&tenant, &conversation, &thread, &SAID]).await.unwrap();
    scene.sql.batch_execute("VACUUM ANALYZE chat.events").await.unwrap();
    let path = format!("/v1/conversations/{conversation}/routing");
    let first = scene.world.get(&scene.ann, &path).await.is(200).body;
    let deep = first["next_cursor"].as_str().unwrap();
    // A first page asks as well for the last decision that is the caller's own.
    for (query, last, there) in
        [("?limit=50".to_owned(), "\"chosen_id\"", 50), (format!("?cursor={deep}"), "lane IN", 30)]
    {
        // A statement that is asked for often has a plan for any value.
        for _ in 0..8 {
            let (plans, shown) = scene.plans(&scene.ann, &format!("{path}{query}"), last).await;
            let shown = shown["data"].as_array().unwrap().len();
            assert_eq!((shown, faults(&plans, READ_MAX)), (there, vec![]), "{query}:\n{plans}");
            assert!(plans.contains("events_of_routing"), "{query}:\n{plans}");
        }
    }
}

/// A conversation of many threads, and others: `$1` tenant, `$2` how many, `$3` what was said in each.
const THREADS: &str = "WITH made AS (SELECT n, md5('t' || n)::uuid AS thread FROM generate_series(1, $2::bigint) n),
    c AS (INSERT INTO chat.conversations (tenant_id, id, visitor_id, created_at, thread_id, status, participants, life_seq,
            last_at, last_seq)
        SELECT $1::uuid, md5('c' || n)::uuid, md5('v' || n)::uuid, now(), thread, 'closed', '{}', n, now(), n FROM made),
    t AS (INSERT INTO chat.threads (tenant_id, id, conversation_id, visitor_id, status, participants, life_seq,
            started_at, started_seq)
        SELECT $1::uuid, thread, md5('c' || $2)::uuid, md5('v' || $2)::uuid, 'closed', '{}', n, now(), n * 1000 + 1 FROM made)
    INSERT INTO chat.events (tenant_id, seq, at, id, lane, subject_id, conversation_id, thread_id, kind, author_type,
            author_id, visibility, payload)
        SELECT $1::uuid, n * 1000 + said, now(), gen_random_uuid(), 'msg', md5('c' || $2)::uuid, md5('c' || $2)::uuid,
            thread, 'message', 'agent', thread, 'all',
            format('{\"v\":1,\"kind\":\"message\",\"id\":\"%1$s\",\"tenant_id\":\"%2$s\",\"author\":{\"type\":\"agent\",
                \"id\":\"%1$s\"},\"visibility\":\"all\",\"data\":{\"text\":\"x\"}}', thread, $1::uuid)
        FROM made, generate_series(1, $3::bigint) said";
const TURNS: i64 = 400;
const SAID_IN_EACH: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_thread_is_not_looked_for_among_all_that_came_before() {
    let _turn = turn().await;
    let quiet = World::alone().await;
    let sql = quiet.postgres().await;
    tell(&sql).await;
    let ann = quiet.register("acme").await;
    let tenant = ann.tenant.parse::<Uuid>().unwrap();
    sql.execute(THREADS, &[&tenant, &TURNS, &SAID_IN_EACH]).await.unwrap();
    for table in ["conversations", "threads", "events"] {
        sql.batch_execute(&format!("VACUUM ANALYZE chat.{table}")).await.unwrap();
    }
    let world = World::beside(&quiet).await;
    let ids = "SELECT md5('c' || $1::bigint)::uuid::text, md5('t' || $1::bigint)::uuid::text";
    let row = sql.query_one(ids, &[&TURNS]).await.unwrap();
    let (conversation, thread): (String, String) = (row.get(0), row.get(1));
    let of_thread = r#""chat"."events"."thread_id" ="#;
    for (path, last, field, there) in [
        (format!("/v1/threads/{thread}/events?limit=200"), of_thread, "data", SAID_IN_EACH),
        (
            format!("/v1/threads/{thread}/events?limit=200&before_seq={}", i64::MAX),
            of_thread,
            "data",
            SAID_IN_EACH,
        ),
        (format!("/v1/threads/{thread}/events?limit=30"), of_thread, "data", 30),
        (format!("/v1/conversations/{conversation}"), LAST, "events", 50),
    ] {
        // A statement that is asked for often has a plan for any value.
        for _ in 0..8 {
            let (plans, shown) = plans(&world, &sql, &ann, &path, last).await;
            let shown = i64::try_from(shown[field].as_array().unwrap().len()).unwrap();
            assert_eq!((shown, faults(&plans, READ_MAX)), (there, vec![]), "{path}:\n{plans}");
        }
    }
}

/// Visitors, each with a conversation: `$1` tenant, `$2` since how many days silent, `$3` forgotten, `$4` how many.
const SILENT: &str = "WITH made AS (
        SELECT gen_random_uuid() AS id, gen_random_uuid() AS visitor, n, now() - $2::float8 * interval '1 day' AS at
        FROM generate_series(1, $4::bigint) n),
    c AS (INSERT INTO chat.conversations (tenant_id, id, visitor_id, created_at, thread_id, status, participants, life_seq,
            last_at, last_seq)
        SELECT $1::uuid, id, visitor, at, id, 'closed', '{}', n, at, n FROM made)
    INSERT INTO chat.visitors (tenant_id, id, conversation_id, custom, verified, banned, erased_at, first_seen_at,
            last_seen_at, seq)
        SELECT $1::uuid, visitor, id, '{}', false, false, CASE WHEN $3 THEN at END, at, at, n FROM made";
/// Half of them are forgotten.
const SEEN: i64 = 20_000;
/// The last that is asked about whose days are over.
const LAST_SILENT: &str = r#""last_seen_at" <="#;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_be_forgotten_is_not_looked_for_among_all_visitors() {
    let _turn = turn().await;
    let server = BusServer::start().await;
    let quiet = World::on(&server).await;
    let sql = quiet.postgres().await;
    tell(&sql).await;
    let ann = quiet.register("acme").await;
    let tenant = ann.tenant.parse::<Uuid>().unwrap();
    for (days, is_forgotten, many) in [(1.0, false, SEEN / 2), (90.0, true, SEEN / 2), (60.0, false, 150)] {
        sql.execute(SILENT, &[&tenant, &days, &is_forgotten, &many]).await.unwrap();
    }
    for table in ["conversations", "visitors"] {
        sql.batch_execute(&format!("VACUUM ANALYZE chat.{table}")).await.unwrap();
    }
    // Only who connects from now on is told to explain, and only one looks at a time.
    quiet.context.shutdown.cancel();
    let world = World::beside(&quiet).await;
    let from = log_size(&sql).await;
    world.patch(&ann, "/v1/tenant", json!({ "retention": { "forget_after_days": 30 } })).await.is(200);
    let plans = wait_for(SOON, "the plans of both pieces", async || {
        let said = said(&sql, from).await;
        let pieces: Vec<&str> = said.split(LAST_SILENT).skip(1).collect();
        let last = pieces.last().is_some_and(|plan| plan.ends_with('\n') && plan.contains("(actual"));
        if pieces.len() >= 2 && last { Ok(said) } else { Err(said) }
    })
    .await;
    assert_eq!(faults(&plans, READ_MAX), Vec::<&str>::new(), "{plans}");
    assert!(plans.contains("visitors_known"), "{plans}");
}

#[test]
fn what_reads_a_large_table_through_is_a_fault() {
    let faulty = "\t->  Parallel Seq Scan on conversations c  (cost=0 rows=9) (actual rows=1 loops=1)
\tRows Removed by Filter: 39999
\t->  Index Scan using x on tags  (cost=0 rows=9) (actual rows=100 loops=51)
\t->  Index Scan using y on tags  (cost=0 rows=9) (actual rows=0.50 loops=4401)
\t->  Index Scan using z on tags  (cost=0 rows=9) (actual rows=0.00 loops=2201)
\tRows Removed by Filter: 1";
    assert_eq!(faults(faulty, READ_MAX).len(), 5);
    let both = "\tQuery Text: SELECT \"config\".\"tags\".\"id\" FROM \"config\".\"tags\"
\tSeq Scan on tags  (cost=0 rows=9) (actual rows=0 loops=1)
\tQuery Text: SELECT \"chat\".\"tags\".\"tag_id\" FROM \"chat\".\"tags\"
\tSeq Scan on tags  (cost=0 rows=9) (actual rows=1 loops=1)";
    assert_eq!(faults(both, READ_MAX), ["\tSeq Scan on tags  (cost=0 rows=9) (actual rows=1 loops=1)"]);
    assert!(
        faults(
            "\t->  Seq Scan on agents  (cost=0 rows=9) (actual rows=1 loops=1)\nRows Removed by Filter: 9",
            READ_MAX
        )
        .is_empty()
    );
}
