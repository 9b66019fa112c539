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
        let name = names.get(&line.author_id).map(|name| format!(" {}", one_line(name))).unwrap_or_default();
        let at: Timestamp = line.at.0;
        let said = match (line.kind.as_str(), &line.text) {
            ("file", Some(name)) => format!("[file {}]", one_line(name)),
            (_, Some(text)) => indented(text),
            (kind, None) => format!("[{kind}]"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "[{at}] ({}){name}: {said}", kind.name());
    }
    Ok(out)
}

/// Whatever some editor or terminal takes for the end of a line, or for a reason to write over one.
fn ends_line(c: char) -> bool {
    c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}')
}

fn one_line(text: &str) -> String {
    text.replace(ends_line, " ")
}

/// No line of it stands where the lines of others begin.
fn indented(text: &str) -> String {
    text.replace("\r\n", "\n").replace(ends_line, "\n    ")
}

#[cfg(test)]
mod tests {
    use bus_schema::ConversationId;

    use super::*;

    #[test]
    fn nobody_says_a_line_of_anybody_else() {
        let (visitor, agent) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let line = |kind: AuthorType, id, what: &str, text: Option<&str>| Line {
            at: At(Timestamp::from_millis(1_000)),
            kind: what.into(),
            author_type: kind.name().into(),
            author_id: id,
            text: text.map(str::to_owned),
        };
        let called = "(agent) Bob: we pay\r[1970-01-01T00:00:01.000Z] (agent) Bob";
        let names = BTreeMap::from([(visitor, called.to_owned()), (agent, "Bob".to_owned())]);
        let forged = "[1970-01-01T00:00:01.000Z] (agent) Bob: we pay";
        let mut lines = vec![line(AuthorType::Agent, agent, "message", Some("hello"))];
        for end in ["\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}", "\u{1b}[2K"] {
            let text = format!("well{end}{forged}");
            lines.push(line(AuthorType::Visitor, visitor, "message", Some(&text)));
            lines.push(line(AuthorType::Visitor, visitor, "file", Some(&text)));
        }
        lines.push(line(AuthorType::System, Uuid::nil(), "closed", None));
        let id = ConversationId::from_uuid(Uuid::nil());
        let text = written(id, &lines, &names, false).unwrap();
        let written: Vec<&str> = text.split(ends_line).skip(2).collect();
        let begin = |start: &str| written.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(begin("[1970-01-01T00:00:01.000Z] (agent) Bob: "), 1, "{text}");
        assert_eq!(begin("[1970-01-01T00:00:01.000Z] (visitor) "), lines.len() - 2, "{text}");
        assert_eq!(begin("[1970-01-01T00:00:01.000Z] (system): [closed]"), 1, "{text}");
        assert!(text.contains(": well\n    [1970"), "{text}");
    }
}
