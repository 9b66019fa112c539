//! Pages of a conversation's events, from the log.
//!
//! Invariant: a page is a piece of the log without a hole: its ends come from the leader.

use std::collections::VecDeque;

use bus_schema::{Audience, ErrorBody, ErrorCode, subject::ConversationSubjects};
use serde_json::value::RawValue;

use super::{EventsPast, slice, snapshot::raw, tail, unreadable};
use crate::log::{Log, StoredMsg};

/// Which page.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    pub home: ConversationSubjects,
    pub audience: Audience,
    /// Events below it, the latest ones.
    pub before: Option<u64>,
    /// Events above it, the earliest ones.
    pub after: Option<u64>,
    pub limit: usize,
}

/// Events, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub events: Vec<Box<RawValue>>,
    pub has_more: bool,
    /// Sequences of the first and last event.
    pub first_seq: u64,
    pub last_seq: u64,
}

/// Reads a page. A conversation that does not exist is `not_found`.
pub async fn page(log: &Log, request: &PageRequest) -> Result<Page, ErrorBody> {
    let ends = tail(log, request.home, request.audience).await?;
    let Some(life) = &ends.life else { return Err(ErrorCode::NotFound.into()) };
    if let Some(after) = request.after {
        return forward(log, request, after, ends.end()).await;
    }
    let up_to = request.before.map_or(u64::MAX, |before| before.saturating_sub(1)).min(ends.end());
    // The latest events are mostly in the open thread; only else is the whole conversation read.
    if life.started_seq() <= up_to {
        let page = backward(log, request, life.started_seq(), up_to).await?;
        if page.events.len() == request.limit {
            let has_more = page.has_more || life.state.previous_thread_id.is_some();
            return Ok(Page { has_more, ..page });
        }
        if life.state.previous_thread_id.is_none() {
            return Ok(page);
        }
    }
    backward(log, request, 1, up_to).await
}

async fn forward(log: &Log, request: &PageRequest, after: u64, end: u64) -> Result<Page, ErrorBody> {
    let mut found = VecDeque::new();
    let mut from = after.saturating_add(1);
    let filter = request.home.stored(request.audience);
    while from <= end && found.len() <= request.limit {
        let most = request.limit + 1 - found.len();
        let read = log.read(&filter, from, most).await.map_err(|error| unreadable(&error))?;
        let Some(last) = read.last().map(|message| message.seq) else {
            // A replica that lags: the rest completely, as the leader has it.
            slice(log, &filter, from, end, EventsPast::Drop, |message| found.push_back(message))
                .await
                .map_err(|error| unreadable(&error))?;
            break;
        };
        from = last + 1;
        found.extend(read);
    }
    let has_more = found.len() > request.limit;
    found.truncate(request.limit);
    Ok(made(&found, has_more))
}

async fn backward(log: &Log, request: &PageRequest, from: u64, up_to: u64) -> Result<Page, ErrorBody> {
    let (mut found, mut has_more) = (VecDeque::with_capacity(request.limit), false);
    slice(log, &request.home.stored(request.audience), from, up_to, EventsPast::Drop, |message| {
        if found.len() == request.limit {
            found.pop_front();
            has_more = true;
        }
        found.push_back(message);
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(made(&found, has_more))
}

fn made(found: &VecDeque<StoredMsg>, has_more: bool) -> Page {
    Page {
        events: found.iter().filter_map(raw).collect(),
        has_more,
        first_seq: found.front().map_or(0, |message| message.seq),
        last_seq: found.back().map_or(0, |message| message.seq),
    }
}
