//! The conversation as admin-api tells it afterwards, compared with what was said.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus_schema::{
    ConversationId,
    event::{Body, Seen},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::play::Line;
use crate::tools::http::Http;

/// Pages of history that are read before it counts as endless.
const PAGES_MAX: usize = 100;

/// How long the read model may take to reach the end of the conversation.
const WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// All events of a conversation in the order of `seq`, once the read model has reached `min_seq`.
pub async fn read(http: &Http, conversation: ConversationId, min_seq: u64) -> anyhow::Result<Vec<Seen>> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let history = read_once(http, conversation, min_seq).await;
        let whole = matches!(&history, Ok(events) if events.last().is_some_and(|last| last.seq >= min_seq));
        if whole || Instant::now() >= deadline {
            return history;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn read_once(http: &Http, conversation: ConversationId, min_seq: u64) -> anyhow::Result<Vec<Seen>> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/conversations/{conversation}/events?limit=200&min_seq={min_seq}{cursor}");
        let answer = http.get(&path).await?.ok("reading the history")?;
        let page: Page =
            serde_json::from_value(answer.body).context("the history does not read as a page")?;
        for raw in &page.data {
            events.push(Seen::decode(raw.get().as_bytes())?);
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Where the history differs from what was said; nothing where it does not.
pub fn differences(lines: &[Line], history: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    let said: Vec<_> = history
        .iter()
        .filter_map(|seen| match &seen.event.body {
            Body::Message(message) => Some((seen, &message.text)),
            _ => None,
        })
        .collect();
    if said.len() != lines.len() {
        found.push(format!("{} messages were said, the history has {}", lines.len(), said.len()));
    }
    for (at, (line, (seen, text))) in lines.iter().zip(&said).enumerate() {
        let at = at + 1;
        if line.text != **text {
            found.push(format!("message {at} was {:?}, the history has {text:?}", line.text));
        }
        if line.seq != seen.seq {
            found.push(format!("message {at} was stored at {}, the history says {}", line.seq, seen.seq));
        }
        if line.speaker.author() != seen.event.author.kind {
            found.push(format!("message {at} has another author in the history"));
        }
    }
    let closed = history.last().is_some_and(|seen| matches!(seen.event.body, Body::Closed(_)));
    if !closed {
        found.push("the history does not end with the close".to_owned());
    }
    found
}
