//! Fills the read model by `COPY`, as persister would have left it after so many events.

use std::{fmt::Write as _, time::Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{SinkExt as _, pin_mut};
use tokio_postgres::Client;
use uuid::Uuid;

use super::made::{Entry, Made, Talk, What};
use super::world::World;

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 1 << 20;
const NULL: &str = "\\N";

/// Writes the rows of one conversation.
type Rows = fn(&Made, &Talk, &mut String);

/// Each table with its columns and the rows of one conversation.
const TABLES: [(&str, Rows); 9] = [
    (
        "events (tenant_id, seq, at, id, lane, subject_id, conversation_id, thread_id, kind, author_type, author_id, \
         client_id, visibility, payload)",
        events,
    ),
    (
        "messages (tenant_id, conversation_id, seq, id, thread_id, at, kind, author_type, author_id, visibility, text)",
        messages,
    ),
    (
        "conversations (tenant_id, id, visitor_id, created_at, thread_id, status, group_id, assignee_id, participants, \
         life_seq, last_at, last_seq, last_message_seq)",
        conversations,
    ),
    (
        "threads (tenant_id, id, conversation_id, visitor_id, source, status, group_id, assignee_id, participants, \
         life_seq, started_at, started_seq, first_assigned_at, closed_at, closed_seq, close_reason, visitor_messages, \
         agent_messages)",
        threads,
    ),
    ("marks (tenant_id, conversation_id, author_type, author_id, delivered_seq, read_seq, seq, at)", marks),
    (
        "decisions (tenant_id, seq, at, conversation_id, thread_id, strategy, rule, chosen_id, config_revision, \
         took_us, decision)",
        decisions,
    ),
    ("assignments (tenant_id, seq, thread_id, conversation_id, agent_id, group_id, at)", assignments),
    ("tags (tenant_id, thread_id, tag_id, conversation_id, present, seq, at, author_type, author_id)", tags),
    (
        "visitors (tenant_id, id, conversation_id, name, email, custom, verified, banned, first_seen_at, \
         last_seen_at, seq)",
        visitors,
    ),
];

/// How long it took, and what it takes on disk.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Loaded {
    pub seconds: f64,
    pub gib: f64,
}

pub async fn load(world: &World, made: &Made) -> anyhow::Result<Loaded> {
    let began = Instant::now();
    let sql = world.postgres.sql().await?;
    let indexes = take_indexes(&sql).await?;
    // Two at once: one encodes while Postgres writes for the other.
    let (first, second) = TABLES.split_at(1);
    tokio::try_join!(fill(world, made, first), fill(world, made, second))?;
    for index in indexes {
        sql.batch_execute(&index).await.with_context(|| index.clone())?;
    }
    let watermark = "INSERT INTO chat.watermark (shard, epoch, seq, subject, at, id) VALUES (0, $1, $2, 'bench', now(), NULL)";
    sql.execute(watermark, &[&Uuid::now_v7(), &i64::try_from(made.events())?]).await?;
    // Each on its own: a vacuum takes no part in a transaction.
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        sql.batch_execute(statement).await?;
    }
    let bytes: i64 = sql.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
    Ok(Loaded { seconds: began.elapsed().as_secs_f64(), gib: bytes as f64 / f64::from(1 << 30) })
}

/// Drops every index that no constraint needs; the statements that make them again.
async fn take_indexes(sql: &Client) -> anyhow::Result<Vec<String>> {
    let query = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        WHERE c.relnamespace::regnamespace::text = 'chat' AND t.relname NOT LIKE '\\_\\_%'
            AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)";
    let mut again = Vec::new();
    for row in sql.query(query, &[]).await? {
        sql.batch_execute(&format!("DROP INDEX {}", row.get::<_, String>(0))).await?;
        again.push(row.get(1));
    }
    Ok(again)
}

async fn fill(world: &World, made: &Made, tables: &[(&str, Rows)]) -> anyhow::Result<()> {
    let sql = world.postgres.sql().await?;
    for (table, rows) in tables {
        let sink = sql.copy_in::<_, Bytes>(&format!("COPY chat.{table} FROM STDIN")).await?;
        pin_mut!(sink);
        let mut chunk = String::with_capacity(CHUNK_BYTES * 2);
        for number in 0..made.conversations {
            rows(made, &made.talk(number), &mut chunk);
            if chunk.len() >= CHUNK_BYTES {
                sink.send(Bytes::from(std::mem::take(&mut chunk))).await?;
            }
        }
        sink.send(Bytes::from(chunk)).await?;
        sink.finish().await.with_context(|| format!("copy into {table}"))?;
    }
    Ok(())
}

/// One row: its fields have neither tabs nor backslashes.
fn row(out: &mut String, fields: &[&dyn std::fmt::Display]) {
    for (at, field) in fields.iter().enumerate() {
        let separator = if at == 0 { "" } else { "\t" };
        write!(out, "{separator}{field}").expect("writing to a String never fails");
    }
    out.push('\n');
}

fn steps<'a>(made: &'a Made, talk: &'a Talk) -> impl Iterator<Item = Entry> + 'a {
    (0..made.each).map(move |step| made.entry(talk, step))
}

fn author(talk: &Talk, entry: &Entry) -> (&'static str, Uuid) {
    match entry.what {
        What::Decided | What::Assigned | What::Closed => ("system", Uuid::nil()),
        What::Note => ("agent", talk.agent),
        What::Started | What::Message | What::Read if entry.by_visitor => ("visitor", talk.visitor.uuid()),
        What::Started | What::Message | What::Read => ("agent", talk.agent),
    }
}

fn visibility(entry: &Entry) -> &'static str {
    if matches!(entry.what, What::Note | What::Decided) { "agents" } else { "all" }
}

fn events(made: &Made, talk: &Talk, out: &mut String) {
    for entry in steps(made, talk) {
        let (kind, (who, by), shown) = (entry.what.kind(), author(talk, &entry), visibility(&entry));
        let data = match entry.what {
            What::Message | What::Note => format!("{{\"text\":\"{}\"}}", Made::text(entry.seq)),
            What::Read => format!("{{\"up_to_seq\":{}}}", entry.seq - 1),
            What::Started | What::Decided | What::Assigned | What::Closed => state(made, talk, &entry),
        };
        let payload = format!(
            "{{\"v\":1,\"kind\":\"{kind}\",\"id\":\"{}\",\"tenant_id\":\"{}\",\"conversation_id\":\"{}\",\
             \"thread_id\":\"{}\",\"author\":{{\"type\":\"{who}\",\"id\":\"{by}\"}},\"visibility\":\"{shown}\",\
             \"data\":{data}}}",
            entry.id, made.tenant, talk.id, talk.thread
        );
        row(
            out,
            &[
                &made.tenant,
                &entry.seq,
                &entry.at,
                &entry.id,
                &entry.what.lane(),
                &talk.id,
                &talk.id,
                &talk.thread,
                &kind,
                &who,
                &by,
                &NULL,
                &shown,
                &payload,
            ],
        );
    }
}

/// As the router writes it: what a conversation was like at some time is read out of it.
fn state(made: &Made, talk: &Talk, entry: &Entry) -> String {
    let (group, agent) = (talk.group, talk.agent);
    let held = format!("\"{agent}\"");
    let (before, status, assignee) = match entry.what {
        What::Started => (format!("\"group_id\":\"{group}\",\"source\":\"widget\""), "queued", "null"),
        What::Closed => {
            let by = format!("{{\"type\":\"agent\",\"id\":{held}}}");
            (format!("\"by\":{by},\"reason\":\"resolved\""), "closed", "null")
        }
        _ => (format!("\"agent_id\":{held},\"group_id\":\"{group}\""), "active", held.as_str()),
    };
    format!(
        "{{{before},\"state\":{{\"thread_id\":\"{}\",\"status\":\"{status}\",\"group_id\":\"{group}\",\
         \"assignee_id\":{assignee},\"participants\":[],\"visitor_id\":\"{}\",\"started_at\":\"{}\"}}}}",
        talk.thread,
        talk.visitor,
        made.entry(talk, 0).at
    )
}

fn messages(made: &Made, talk: &Talk, out: &mut String) {
    for entry in steps(made, talk).filter(|entry| entry.what.is_said()) {
        let (who, by) = author(talk, &entry);
        row(
            out,
            &[
                &made.tenant,
                &talk.id,
                &entry.seq,
                &entry.id,
                &talk.thread,
                &entry.at,
                &"message",
                &who,
                &by,
                &visibility(&entry),
                &Made::text(entry.seq),
            ],
        );
    }
}

/// Who has it now.
fn holder(talk: &Talk) -> (&'static str, String) {
    if talk.open { ("active", talk.agent.to_string()) } else { ("closed", NULL.to_owned()) }
}

fn conversations(made: &Made, talk: &Talk, out: &mut String) {
    let (first, last) = (made.entry(talk, 0), made.entry(talk, made.each - 1));
    let said = steps(made, talk).filter(|entry| entry.what == What::Message).last();
    let said = said.map_or_else(|| NULL.to_owned(), |entry| entry.seq.to_string());
    let (status, assignee) = holder(talk);
    row(
        out,
        &[
            &made.tenant,
            &talk.id,
            &talk.visitor,
            &first.at,
            &talk.thread,
            &status,
            &talk.group,
            &assignee,
            &"{}",
            &last.seq,
            &last.at,
            &last.seq,
            &said,
        ],
    );
}

fn threads(made: &Made, talk: &Talk, out: &mut String) {
    let (first, assigned, last) = (made.entry(talk, 0), made.entry(talk, 2), made.entry(talk, made.each - 1));
    let (status, assignee) = holder(talk);
    let closed = |text: String| if talk.open { NULL.to_owned() } else { text };
    row(
        out,
        &[
            &made.tenant,
            &talk.thread,
            &talk.id,
            &talk.visitor,
            &"widget",
            &status,
            &talk.group,
            &assignee,
            &"{}",
            &last.seq,
            &first.at,
            &first.seq,
            &assigned.at,
            &closed(last.at.to_string()),
            &closed(last.seq.to_string()),
            &closed("resolved".to_owned()),
            &(made.each / 2),
            &(made.each / 3),
        ],
    );
}

fn marks(made: &Made, talk: &Talk, out: &mut String) {
    let last = made.entry(talk, made.each / 2);
    for (who, by) in [("visitor", talk.visitor.uuid()), ("agent", talk.agent)] {
        row(out, &[&made.tenant, &talk.id, &who, &by, &last.seq, &last.seq, &last.seq, &last.at]);
    }
}

fn decisions(made: &Made, talk: &Talk, out: &mut String) {
    let entry = made.entry(talk, 1);
    let candidates = format!("{{\"agent_id\":\"{}\",\"load\":1,\"capacity\":5}}", talk.agent);
    let decision =
        format!("{{\"strategy\":\"least_loaded\",\"rule\":\"assigned\",\"candidates\":[{candidates}]}}");
    row(
        out,
        &[
            &made.tenant,
            &entry.seq,
            &entry.at,
            &talk.id,
            &talk.thread,
            &"least_loaded",
            &"assigned",
            &talk.agent,
            &1,
            &50,
            &decision,
        ],
    );
}

fn assignments(made: &Made, talk: &Talk, out: &mut String) {
    let entry = made.entry(talk, 2);
    row(out, &[&made.tenant, &entry.seq, &talk.thread, &talk.id, &talk.agent, &talk.group, &entry.at]);
}

fn tags(made: &Made, talk: &Talk, out: &mut String) {
    if !talk.tagged {
        return;
    }
    let entry = made.entry(talk, made.each / 2);
    row(
        out,
        &[
            &made.tenant,
            &talk.thread,
            &made.tag,
            &talk.id,
            &"t",
            &entry.seq,
            &entry.at,
            &"agent",
            &talk.agent,
        ],
    );
}

fn visitors(made: &Made, talk: &Talk, out: &mut String) {
    let (first, last) = (made.entry(talk, 0), made.entry(talk, made.each - 1));
    let (name, email) = (format!("Visitor {}", talk.number), format!("v{}@example.com", talk.number));
    row(
        out,
        &[
            &made.tenant,
            &talk.visitor,
            &talk.id,
            &name,
            &email,
            &"{}",
            &"f",
            &"f",
            &first.at,
            &last.at,
            &first.seq,
        ],
    );
}
