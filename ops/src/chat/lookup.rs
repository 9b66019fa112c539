//! Whether a send is in the log already.
//!
//! Invariant: "no" is said only after reading up to an end that the leader gave; so many look at once, and the rest is
//! told to come back.

use std::{ops::ControlFlow, time::Duration};

use bus_schema::{ErrorBody, ErrorCode, EventId, Lane, history::WAIT_MS, subject::ConversationSubjects};
use tokio::sync::SemaphorePermit;

use super::{
    Head, Life, Span,
    past::{AboveHorizon, Found, Past, SEARCH_INSTEAD},
    slice, unreadable,
};
use crate::log::Log;

/// Who has no turn tries again within these, each at their own moment.
const RETRY_AFTER_MS: std::ops::Range<u64> = 500..1_500;
/// How long the read model has for all that was trimmed, where nothing can be told without it.
const WAIT: Duration = Duration::from_millis(WAIT_MS);

/// The sequence of the event with this id on a lane, from sequence `from` on; the lowest if a retry added copies.
pub async fn find(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    from: u64,
    id: EventId,
) -> Result<Option<u64>, ErrorBody> {
    let _turn = turn(log).await?;
    find_since(log, home, lane, from, id).await
}

/// The same of a repeat, which may be older than the open thread: what began at `life` is looked through first. What was
/// said before it the read model knows by its id; the log is searched for what the read model does not have yet, and for
/// all of it where there is no answer. What nobody can tell then is an error if the caller `must_know`, and else a "no".
pub(super) async fn find_ever(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    life: &Life,
    id: EventId,
    must_know: bool,
) -> Result<Option<u64>, ErrorBody> {
    let _turn = turn(log).await?;
    let began = life.started_seq();
    let found = find_since(log, home, lane, began, id).await?;
    let is_first = life.state.previous_thread_id.is_none() && log.known_horizon() <= began;
    if found.is_some() || is_first {
        return Ok(found);
    }
    let mut reads = AboveHorizon::new(log);
    loop {
        let horizon = reads.begin()?;
        let trimmed = horizon > 1;
        let wait = if must_know && trimmed { WAIT } else { SEARCH_INSTEAD };
        let told = Past::new(log, home, lane.audience(), horizon, wait).find(id).await;
        if let Ok(Found { seq: Some(seq), .. }) = told {
            return Ok(Some(seq));
        }
        let held = told.as_ref().map_or(0, |told| told.holds_to);
        let rest = Span::new(horizon.max(held.saturating_add(1)), began.saturating_sub(1));
        let found = search(log, home, lane, rest, id).await?;
        match told {
            Err(error) if found.is_none() && trimmed && must_know => return Err(error),
            Err(error) => tracing::debug!(%error, "a repeat is looked for in the log alone"),
            Ok(_) => {}
        }
        if found.is_some() || reads.stands(horizon).await? {
            return Ok(found);
        }
    }
}

async fn turn(log: &Log) -> Result<SemaphorePermit<'_>, ErrorBody> {
    log.lookup_turn().await.ok_or_else(|| {
        let busy =
            ErrorBody::new(ErrorCode::Unavailable, "too many sends that may be stored are looked up now");
        busy.after(Duration::from_millis(rand::random_range(RETRY_AFTER_MS)))
    })
}

async fn find_since(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    from: u64,
    id: EventId,
) -> Result<Option<u64>, ErrorBody> {
    let end = log.last(&home.lane(lane).to_string()).await.map_err(|error| unreadable(&error))?;
    let Some(end) = end else { return Ok(None) };
    search(log, home, lane, Span::new(from, end.seq), id).await
}

async fn search(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    span: Span,
    id: EventId,
) -> Result<Option<u64>, ErrorBody> {
    let mut found = None;
    slice(log, &home.lane(lane).to_string(), span, |message| {
        if Head::decode(&message.payload).is_ok_and(|head| head.id == id) {
            found = Some(message.seq);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(found)
}
