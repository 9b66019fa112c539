//! Pages of a conversation's events, at the cost of the page: from the log, and below the horizon from its read model.
//!
//! Invariant: a page is a piece of the conversation without a hole, and `has_more` is exact: its ends come from the
//! leader, and a replica that lags is not believed about what it lacks.

use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

use bus_schema::{Audience, ErrorBody, ErrorCode, history::WAIT_MS, subject::ConversationSubjects};
use serde_json::value::RawValue;

use super::{
    Life, Span,
    back::Back,
    past::{AboveHorizon, Past, Shown},
    slice,
    snapshot::raw,
    tail, unreadable,
};
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
    let PageRequest { home, audience, .. } = *request;
    let ends = tail(log, home, audience).await?;
    let Some(life) = &ends.life else { return Err(ErrorCode::NotFound.into()) };
    let past = Past::new(log, home, audience, horizon, Duration::from_millis(WAIT_MS));
    match request.after {
        Some(after) => forward(&past, after, ends.end(), request.limit).await,
        None => {
            let before = request.before.unwrap_or(u64::MAX);
            backward(&past, life, before.saturating_sub(1).min(ends.end()), request.limit).await
        }
    }
}

async fn forward(past: &Past<'_>, after: u64, end: u64, limit: usize) -> Result<Page, ErrorBody> {
    // One more than the page shows whether there is more.
    let most = limit + 1;
    let mut found = past.after(after, most).await?;
    if found.len() < most {
        let from = after.saturating_add(1).max(past.horizon);
        let span = Span::new(from, end).about(most - found.len());
        let filter = past.home.stored(past.audience);
        slice(past.log, &filter, span, |message| {
            found.extend(shown(&message));
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await
        .map_err(|error| unreadable(&error))?;
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    Ok(Page { events: found.into_iter().map(|shown| shown.event).collect(), has_more })
}

async fn backward(past: &Past<'_>, life: &Life, up_to: u64, limit: usize) -> Result<Page, ErrorBody> {
    let most = limit + 1;
    // Without a thread before it the open one is all there is.
    let first = life.state.previous_thread_id.is_none().then(|| life.started_seq());
    let filter = past.home.stored(past.audience);
    let mut back = Back::new(past.log, &filter, first.unwrap_or(1).max(past.horizon), up_to);
    let mut found: VecDeque<Shown> = VecDeque::with_capacity(most);
    while found.len() < most && !back.is_over() {
        let piece = back.piece(most - found.len()).await.map_err(|error| unreadable(&error))?;
        piece.iter().rev().filter_map(shown).for_each(|event| found.push_front(event));
    }
    // A full page of an old thread has at least that thread's beginning below it: nobody needs to be asked.
    let starts_below = life.started_seq() < past.horizon;
    let known_to_go_on = found.len() == limit && starts_below;
    if found.len() < most && !known_to_go_on && first.is_none_or(|first| first < past.horizon) {
        let before = past.horizon.min(up_to.saturating_add(1));
        let older = past.before(before, most - found.len()).await?;
        older.into_iter().rev().for_each(|event| found.push_front(event));
    }
    let has_more = found.len() > limit || known_to_go_on;
    let events = found.split_off(found.len().saturating_sub(limit));
    Ok(Page { events: events.into_iter().map(|shown| shown.event).collect(), has_more })
}

fn shown(message: &StoredMsg) -> Option<Shown> {
    Some(Shown { seq: message.seq, event: raw(message)? })
}
