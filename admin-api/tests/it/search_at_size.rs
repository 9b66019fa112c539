//! Search over more than it reads at once finds what reading every message finds, however common the words are and
//! however little of the tenant somebody sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::json;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::world::{Person, World};

/// More than `chat.found` reads before it takes to the index.
const MESSAGES: usize = 66_000;
/// What others said before.
const BEFORE: i64 = 2_000_000;
/// An agent of every second of them sees more than are looked through one by one.
const CONVERSATIONS: usize = 6_000;
/// Of these, so many are spoken in at any time, one after the other.
const LATER: usize = 3_000;
const BESIDE: usize = 40;
/// Other words, of which each message has one: Postgres guesses well only where there are more than a hundred.
const FILLERS: usize = 300;
/// Of another tenant, between them in the log.
const FOREIGN: usize = 3_000;
const PAGES_MAX: usize = 5;
/// How often each of these is said.
const WORDS: [(&str, f64); 6] = [
    ("hello", 0.5),
    ("parcel", 0.1),
    ("refund", 0.02),
    ("refunded", 0.004),
    ("zebra", 0.002),
    ("referee", 0.0004),
];
/// Without what begins a phrase they are words that must all be there, the last as a prefix; `-` is without.
const QUERIES: [&str; 20] = [
    "hello",
    "parcel",
    "hello parcel",
    "parcel refund",
    "refund",
    "ref",
    "zebra",
    "zebra refund",
    "referee",
    "filler",
    "filler7 ",
    "always together",
    "\"always together\"",
    "once",
    "former",
    "latest",
    "foreign",
    "nothing",
    "hello parcel -refund ",
    "\"hello refund\"",
];

struct Said {
    tenant: Uuid,
    conversation: Uuid,
    seq: i64,
    text: String,
}

struct Conversation {
    id: Uuid,
    group: Option<Uuid>,
    assignee: Option<Uuid>,
    participants: Vec<Uuid>,
    /// In minutes, in each of which some messages come.
    created_at: Option<i64>,
    last_at: i64,
}

fn text(dice: &mut StdRng, number: usize) -> String {
    let mut words: Vec<&str> =
        WORDS.iter().filter(|(_, share)| dice.random_bool(*share)).map(|(word, _)| *word).collect();
    if number == MESSAGES / 3 {
        words.push("once");
    }
    // Always together, for which Postgres guesses that they hardly ever are.
    if dice.random_bool(0.005) {
        words.extend(["always", "together"]);
    }
    if number < MESSAGES / 10 && dice.random_bool(0.3) {
        words.push("former");
    }
    if number > MESSAGES - 300 && dice.random_bool(0.1) {
        words.push("latest");
    }
    format!("{} filler{}", words.join(" "), dice.random_range(0..FILLERS)).trim_start().to_owned()
}

fn finds(query: &str, text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    if let Some(phrase) = query.strip_prefix('"') {
        let phrase: Vec<&str> = phrase.trim_end_matches('"').split(' ').collect();
        return words.windows(phrase.len()).any(|some| some == phrase);
    }
    let mut wanted = query.trim_end().split(' ').rev();
    let ends = (!query.ends_with(' ')).then(|| wanted.next()).flatten();
    ends.is_none_or(|start| words.iter().any(|word| word.starts_with(start)))
        && wanted.all(|word| match word.strip_prefix('-') {
            Some(unwanted) => !words.contains(&unwanted),
            None => words.contains(&word),
        })
}

struct Scene {
    world: World,
    /// Those who ask, and what they see.
    people: Vec<(Person, BTreeSet<Uuid>)>,
    said: Vec<Said>,
    conversations: Vec<Conversation>,
}

/// Ann sees all, Bob half of it, some of that for two reasons, Eve little, Dan nothing; Mallory is of another tenant.
async fn scene(dice: &mut StdRng) -> Scene {
    let world = World::alone().await;
    let ann = world.register("acme").await;
    let [bob, eve, dan] = [
        world.agent(&ann, "bob", "agent").await,
        world.agent(&ann, "eve", "agent").await,
        world.agent(&ann, "dan", "agent").await,
    ];
    let mallory = world.register("mallory").await;
    let group = world.post(&ann, "/v1/groups", json!({ "name": "Support" })).await.is(201).id();
    let member = format!("/v1/groups/{group}/members/{}", bob.id);
    world.call(Method::PUT, &ann, &member, json!({})).await.is(200);

    let uuid = |text: &str| text.parse::<Uuid>().unwrap();
    let mut conversations: Vec<Conversation> = (0..CONVERSATIONS)
        .map(|number| Conversation {
            id: Uuid::from_u128(dice.random()),
            group: number.is_multiple_of(2).then(|| uuid(&group)),
            assignee: number.is_multiple_of(6).then(|| uuid(&bob.id)),
            participants: if number % 400 == 7 { vec![uuid(&eve.id)] } else { Vec::new() },
            created_at: None,
            last_at: 0,
        })
        .collect();
    let theirs = Uuid::from_u128(dice.random());
    let mut said = Vec::new();
    for number in 0..MESSAGES {
        let seq = BEFORE + i64::try_from(said.len()).unwrap() + 1;
        // Half of them are spoken in all the time, the others begin and end.
        let chosen = if dice.random_bool(0.5) {
            dice.random_range(0..CONVERSATIONS - LATER)
        } else {
            CONVERSATIONS - LATER + number * (LATER - BESIDE) / MESSAGES + dice.random_range(0..BESIDE)
        };
        conversations[chosen].created_at.get_or_insert(seq / 8);
        conversations[chosen].last_at = seq / 8;
        let conversation = conversations[chosen].id;
        said.push(Said { tenant: uuid(&ann.tenant), conversation, seq, text: text(dice, number) });
        if number.is_multiple_of(MESSAGES / FOREIGN) {
            let text = format!("foreign {}", text(dice, number));
            said.push(Said { tenant: uuid(&mallory.tenant), conversation: theirs, seq: seq + 1, text });
        }
    }
    let seen = |sees: &dyn Fn(&Conversation) -> bool| {
        conversations.iter().filter(|one| sees(one)).map(|one| one.id).collect::<BTreeSet<_>>()
    };
    let people = vec![
        (seen(&|_| true), ann),
        (seen(&|one| one.group.is_some()), bob),
        (seen(&|one| !one.participants.is_empty()), eve),
        (BTreeSet::new(), dan),
        (BTreeSet::from([theirs]), mallory),
    ];
    let people = people.into_iter().map(|(seen, person)| (person, seen)).collect();
    let last_at = said.last().unwrap().seq / 8;
    conversations.push(Conversation {
        id: theirs,
        group: None,
        assignee: None,
        participants: Vec::new(),
        created_at: Some(0),
        last_at,
    });
    Scene { world, people, said, conversations }
}

impl Scene {
    async fn write(&self) {
        let sql = self.world.postgres().await;
        let said = |of: fn(&Said) -> Uuid| self.said.iter().map(of).collect::<Vec<_>>();
        let (tenants, conversations) = (said(|one| one.tenant), said(|one| one.conversation));
        let seqs: Vec<i64> = self.said.iter().map(|one| one.seq).collect();
        let texts: Vec<&str> = self.said.iter().map(|one| one.text.as_str()).collect();
        let messages = "INSERT INTO chat.messages
                (tenant_id, conversation_id, seq, id, thread_id, at, kind, author_type, author_id, visibility, text)
            SELECT t, c, s, gen_random_uuid(), c, to_timestamp(s / 8 * 60), 'message', 'visitor', c, 'all', x
            FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::text[]) AS u(t, c, s, x)";
        sql.execute(messages, &[&tenants, &conversations, &seqs, &texts]).await.unwrap();
        let tenant_of: BTreeMap<Uuid, Uuid> =
            self.said.iter().map(|one| (one.conversation, one.tenant)).collect();
        let conversation = "INSERT INTO chat.conversations
                (tenant_id, id, visitor_id, created_at, thread_id, status, group_id, assignee_id, participants, life_seq,
                 last_at, last_seq)
            VALUES ($1, $2, $2, to_timestamp($6::int8 * 60), $2, 'active', $3, $4, $5, 1, to_timestamp($7::int8 * 60),
                (SELECT max(seq) FROM chat.messages WHERE tenant_id = $1 AND conversation_id = $2))";
        let insert = sql.prepare(conversation).await.unwrap();
        for one in &self.conversations {
            let Some(tenant) = tenant_of.get(&one.id) else { continue };
            let Conversation { id, group, assignee, participants, created_at, last_at } = one;
            let row: [&(dyn ToSql + Sync); 7] =
                [tenant, id, group, assignee, participants, &created_at.unwrap(), last_at];
            sql.execute(&insert, &row).await.unwrap();
        }
        sql.batch_execute("VACUUM ANALYZE chat.messages, chat.conversations").await.unwrap();
    }

    /// A column of the first pages of a list, and whether that is all of it.
    async fn pages(&self, who: &Person, path: &str, column: &str) -> (Vec<String>, bool) {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let got = self.world.get(who, &format!("{path}{cursor}")).await.is(200).body;
            let rows = got["data"].as_array().unwrap();
            found.extend(rows.iter().map(|row| row[column].to_string().trim_matches('"').to_owned()));
            match got["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return (found, true),
            }
        }
        (found, false)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_what_reading_every_message_finds() {
    let given = std::env::var("CHATBUS_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("CHATBUS_SEED={seed}");
    let scene = scene(&mut StdRng::seed_from_u64(seed)).await;
    scene.write().await;
    let sql = scene.world.postgres().await;
    let applied = "INSERT INTO chat.watermark (shard, epoch, seq, subject, at)
        VALUES (0, gen_random_uuid(), $1, 'x', now()) ON CONFLICT (shard) DO UPDATE SET seq = excluded.seq";
    sql.execute(applied, &[&scene.said.last().unwrap().seq]).await.unwrap();
    let (whole, cut) = every_list_is_right(&scene, seed, 10).await;
    assert!(whole > 20 && cut > 10, "{whole} lists were read to their ends, {cut} were not");
    // As if other tenants had said so much that what was said since any of these is too much to be gathered.
    sql.execute(applied, &[&1_000_000_000_i64]).await.unwrap();
    // With the larger page more conversations than are named.
    for limit in [10, 50] {
        every_list_is_right(&scene, seed, limit).await;
    }
}

/// How many were read to their ends, and how many were not.
async fn every_list_is_right(scene: &Scene, seed: u64, limit: usize) -> (usize, usize) {
    let (mut whole, mut cut) = (0, 0);
    for ((who, seen), query) in scene.people.iter().flat_map(|one| iter::repeat(one).zip(QUERIES)) {
        let hits: Vec<&Said> = scene
            .said
            .iter()
            .rev()
            .filter(|one| seen.contains(&one.conversation) && finds(query, &one.text))
            .collect();
        let said_in: BTreeSet<Uuid> = hits.iter().map(|hit| hit.conversation).collect();
        let mut listed: Vec<&Conversation> =
            scene.conversations.iter().filter(|one| said_in.contains(&one.id)).collect();
        listed.sort_by_key(|one| std::cmp::Reverse((one.last_at, one.id)));
        let messages: Vec<String> = hits.iter().map(|hit| hit.seq.to_string()).collect();
        let conversations: Vec<String> = listed.iter().map(|one| one.id.to_string()).collect();
        let q = query.replace(' ', "%20").replace('"', "%22");
        for (path, column, expected) in [
            (format!("/v1/search?limit=50&q={q}"), "seq", &messages),
            (format!("/v1/conversations?limit={limit}&q={q}"), "id", &conversations),
        ] {
            let (found, all) = scene.pages(who, &path, column).await;
            let expected = if all { expected } else { &expected[..found.len()] };
            assert_eq!(&found, expected, "CHATBUS_SEED={seed}: {path} by {}", who.email);
            *(if all { &mut whole } else { &mut cut }) += 1;
        }
    }
    (whole, cut)
}

/// Whatever Postgres guesses, and however large it takes its tables to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_guess_costs_time_and_never_a_result() {
    let seed: u64 = rand::random();
    println!("CHATBUS_SEED={seed}");
    let scene = scene(&mut StdRng::seed_from_u64(seed)).await;
    scene.write().await;
    let sql = scene.world.postgres().await;
    let group = scene.conversations.iter().find_map(|one| one.group).unwrap();
    let sizes = [None, Some((-1.0_f32, -1.0_f32)), Some((6.5e6, 5e5)), Some((1e9, -1.0)), Some((10.0, 1e9))];
    for size in sizes {
        if let Some((messages, conversations)) = size {
            let told = "UPDATE pg_class SET reltuples = $1 WHERE oid = $2::text::regclass";
            sql.execute(told, &[&messages, &"chat.messages"]).await.unwrap();
            sql.execute(told, &[&conversations, &"chat.conversations"]).await.unwrap();
        }
        for (n, (who, seen)) in scene.people.iter().enumerate() {
            let me: Option<Uuid> = (n > 0 && n < 4).then(|| who.id.parse().unwrap());
            let groups = if n == 1 { vec![group] } else { Vec::new() };
            sql.execute("SELECT set_config('chatbus.tenant', $1, false)", &[&who.tenant]).await.unwrap();
            for word in ["hello", "refund", "zebra", "referee", "together", "once", "former", "nothing"] {
                let all = scene.said.iter().rev().filter(|one| seen.contains(&one.conversation));
                let hits: Vec<i64> =
                    all.filter(|one| finds(&format!("{word} "), &one.text)).map(|hit| hit.seq).collect();
                for share in [1e-9, 0.0015, 0.02, 1.0, 10.0] {
                    let ask = "SELECT seq FROM chat.found($1::text::tsquery, $2, $3, $4, $5, $6)";
                    // From the top, and from a place in the middle.
                    for below in [i64::MAX, BEFORE + 30_000] {
                        let found =
                            sql.query(ask, &[&word, &share, &below, &51_i32, &me, &groups]).await.unwrap();
                        let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
                        let expected: Vec<i64> =
                            hits.iter().copied().filter(|seq| *seq < below).take(51).collect();
                        assert_eq!(
                            found, expected,
                            "CHATBUS_SEED={seed}: {word} for {} at {share} below {below}, of {size:?}",
                            who.email
                        );
                    }
                }
            }
        }
    }
}
