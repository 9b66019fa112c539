//! `GET /v1/conversations/{id}/transcript`: what was said, as text to be read or sent.
//!
//! Invariant: what a visitor may not see is not in it, nor what was deleted; edits show their newest text.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{extract::State, response::IntoResponse, response::Response};
use bus_schema::{AuthorType, ConversationId, ThreadId, Timestamp, VisitorId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use http::header;
use persister::db::{
    At, Id,
    schema::chat::{messages, visitors},
};
use serde::Deserialize;
use uuid::Uuid;

use super::get::visible;
use crate::{
    access::Caller,
    agents,
    app::App,
    db::meaning,
    http::{PathId, Problem, Query},
    read_model::{applied, applied_header},
};

/// Messages of one transcript; of a longer conversation the latest.
const MESSAGES_MAX: i64 = 5_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscriptQuery {
    /// Of this thread alone.
    thread_id: Option<ThreadId>,
    min_seq: Option<u64>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = messages)]
struct Line {
    at: At,
    kind: String,
    author_type: String,
    author_id: Uuid,
    text: Option<String>,
}

pub async fn transcript(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<TranscriptQuery>,
) -> Result<Response, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut within = app.within(caller.tenant).await?;
    let row = visible(&mut within, &caller, conversation).await?;
    let mut lines = messages::table
        .filter(messages::tenant_id.eq(Id(caller.tenant)).and(messages::conversation_id.eq(Id(conversation))))
        .filter(messages::visibility.eq("all").and(messages::deleted_seq.is_null()))
        .order(messages::seq.desc())
        .limit(MESSAGES_MAX + 1)
        .select(Line::as_select())
        .into_boxed();
    if let Some(thread) = query.thread_id {
        lines = lines.filter(messages::thread_id.eq(Id(thread)));
    }
    let mut lines: Vec<Line> = lines.load(&mut within).await?;
    let cut = lines.len() > usize::try_from(MESSAGES_MAX).unwrap_or(usize::MAX);
    lines.truncate(usize::try_from(MESSAGES_MAX).unwrap_or(usize::MAX));
    lines.reverse();
    let names = names(&mut within, &caller, row.visitor_id, &lines).await?;
    let text = written(conversation, &lines, &names, cut)?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"conversation-{conversation}.txt\"")),
    ];
    let mut response = (headers, text).into_response();
    applied_header(&mut response, seq);
    Ok(response)
}

/// The names of those who said something.
async fn names(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    visitor: Id<VisitorId>,
    lines: &[Line],
) -> Result<BTreeMap<Uuid, String>, Problem> {
    let visitor: Option<(Uuid, Option<String>)> = visitors::table
        .find((Id(caller.tenant), visitor))
        .select((visitors::id, visitors::name))
        .first(connection)
        .await
        .optional()?;
    let staff = lines.iter().filter(|line| line.author_type == AuthorType::Agent.name());
    let staff = agents::names(connection, caller.tenant, staff.map(|line| line.author_id)).await?;
    let visitor = visitor.and_then(|(id, name)| name.map(|name| (id, name)));
    Ok(staff.into_iter().chain(visitor).collect())
}

fn written(
    conversation: ConversationId,
    lines: &[Line],
    names: &BTreeMap<Uuid, String>,
    cut: bool,
) -> Result<String, Problem> {
    let mut out = format!("Conversation {conversation}\n\n");
    if cut {
        out.push_str("(what was said before is left out)\n\n");
    }
    for line in lines {
        let kind: AuthorType = meaning(&line.author_type)?;
        let unnamed = match kind {
            AuthorType::Visitor => "Visitor",
            AuthorType::Agent => "Agent",
            AuthorType::Bot => "Bot",
            AuthorType::System => "System",
        };
        let name = names.get(&line.author_id).map_or(unnamed, String::as_str);
        let at: Timestamp = line.at.0;
        let said = match (line.kind.as_str(), &line.text) {
            ("file", Some(name)) => format!("[file {name}]"),
            (_, Some(text)) => text.replace('\n', "\n    "),
            (kind, None) => format!("[{kind}]"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "[{at}] {name}: {said}");
    }
    Ok(out)
}
