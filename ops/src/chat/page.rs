//! Pages of a conversation's events, at the cost of the page: from the log, and far down from its read model.
//!
//! Invariant: a page is a piece of the conversation without a hole, and `has_more` is exact: its ends come from the
//! leader, and a replica that lags is not believed about what it lacks.

use std::{collections::VecDeque, time::Duration};

use bus_schema::{Audience, ErrorBody, ErrorCode, history::WAIT_MS, subject::ConversationSubjects};
use serde_json::value::RawValue;

use super::{
    Life, ascent,
    older::{Older, Reach, raw},
    past::{AboveHorizon, Past, SEARCH_INSTEAD, Shown},
    tail, unreadable,
};
use crate::log::Log;

/// How long the read model has for what the log does not hold.
const WAIT: Duration = Duration::from_millis(WAIT_MS);

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
}

/// Reads a page. A conversation that does not exist is `not_found`.
pub async fn page(log: &Log, request: &PageRequest) -> Result<Page, ErrorBody> {
    let mut reads = AboveHorizon::new(log);
    loop {
        let horizon = reads.begin()?;
        let page = read(log, request, horizon).await?;
        if reads.stands(horizon).await? {
            return Ok(page);
        }
    }
}

async fn read(log: &Log, request: &PageRequest, horizon: u64) -> Result<Page, ErrorBody> {
    let PageRequest { home, audience, limit, .. } = *request;
    let ends = tail(log, home, audience).await?;
    let Some(life) = &ends.life else { return Err(ErrorCode::NotFound.into()) };
    let end = ends.end();
    let up_to = match request.after {
        Some(_) => end,
        None => request.before.unwrap_or(u64::MAX).saturating_sub(1).min(end),
    };
    // Without a thread before it the open one is all there is.
    let first = if life.state.previous_thread_id.is_none() { life.started_seq() } else { 1 };
    let reach = Reach { log, home, audience, lanes: audience.lanes(), first, horizon, up_to, settled: up_to };
    match request.after {
        Some(after) => forward(&reach, after, limit).await,
        None => backward(reach, life, limit).await,
    }
}

async fn forward(reach: &Reach<'_>, after: u64, limit: usize) -> Result<Page, ErrorBody> {
    // One more than the page shows whether there is more.
    let most = limit + 1;
    let Reach { log, home, audience, up_to, .. } = *reach;
    let (mut found, below) = beginning(reach, after, most).await?;
    if found.len() < most {
        let from = after.saturating_add(1).max(below);
        let rest = ascent(log, home, audience, (from, up_to), most - found.len()).await;
        let rest = rest.map_err(|error| unreadable(&error))?;
        found
            .extend(rest.iter().filter_map(|message| Some(Shown { seq: message.seq, event: raw(message)? })));
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    Ok(Page { events: found.into_iter().map(|shown| shown.event).collect(), has_more })
}

/// What the read model has of a page, and the sequence from which on the log goes on.
async fn beginning(reach: &Reach<'_>, after: u64, most: usize) -> Result<(Vec<Shown>, u64), ErrorBody> {
    let Reach { log, home, audience, horizon, .. } = *reach;
    let near = reach.near();
    if near > horizon && after.saturating_add(1) < near {
        let past = Past::new(log, home, audience, horizon, SEARCH_INSTEAD);
        if let Ok(found) = past.after(after, near, most).await {
            return Ok((found, near));
        }
    }
    let past = Past::new(log, home, audience, horizon, WAIT);
    Ok((past.after(after, horizon, most).await?, horizon))
}

async fn backward(reach: Reach<'_>, life: &Life, limit: usize) -> Result<Page, ErrorBody> {
    let most = limit + 1;
    let mut older = Older::new(reach, most, WAIT).await.map_err(|error| unreadable(&error))?;
    let mut found: VecDeque<Box<RawValue>> = VecDeque::with_capacity(most);
    let mut has_more = false;
    while found.len() < most && !has_more {
        // A full page of an old thread has at least that thread's beginning below it: nobody needs to be asked.
        has_more = found.len() == limit
            && older.must_ask_below().await?.is_some_and(|below| life.started_seq() < below);
        if !has_more {
            let Some(item) = older.next().await? else { break };
            item.event().into_iter().for_each(|event| found.push_front(event));
        }
    }
    has_more |= found.len() > limit;
    let events = found.split_off(found.len().saturating_sub(limit));
    Ok(Page { events: events.into(), has_more })
}
