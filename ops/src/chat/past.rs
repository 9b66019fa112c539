//! What admin-api answers from the read model: everything below the horizon (design §2.3), and what a search of the log
//! would find only far down.
//!
//! Invariant: an answer about what the log has as well counts only where the read model holds all of it; below a sequence
//! nothing of the log is used, and from it on nothing of the read model, so that no event comes twice and none is left
//! out, however much of the log was trimmed already.

use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use bus_schema::{
    Audience, ErrorBody, ErrorCode, EventId,
    history::{HistoryAnswer, HistoryRequest},
    limits::PAGE_MAX,
    protocol::EventPage,
    subject::{self, ConversationSubjects},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::unreadable;
use crate::log::Log;

/// How long the read model has where the log could be searched instead.
pub(super) const SEARCH_INSTEAD: Duration = Duration::from_millis(500);
/// Reads of one thing, as long as the horizon rises meanwhile.
const READS_MAX: u32 = 3;

/// A read that is made again if the horizon rose meanwhile: what was read may have been trimmed.
#[derive(Debug)]
pub struct AboveHorizon<'a> {
    log: &'a Log,
    reads: u32,
}

impl<'a> AboveHorizon<'a> {
    pub const fn new(log: &'a Log) -> Self {
        Self { log, reads: 0 }
    }

    /// The horizon to read with.
    pub fn begin(&mut self) -> Result<u64, ErrorBody> {
        self.reads += 1;
        if self.reads > READS_MAX {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "the log is being trimmed"));
        }
        Ok(self.log.known_horizon())
    }

    /// Whether what was read with this horizon stands.
    pub async fn stands(&self, horizon: u64) -> Result<bool, ErrorBody> {
        Ok(self.log.horizon().await.map_err(|error| unreadable(&error))? == horizon)
    }
}

/// An event as readers see it, with its place.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub seq: u64,
    pub event: Box<RawValue>,
}

/// What the read model says of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// None: it is not among what the read model holds.
    pub seq: Option<u64>,
    /// The read model holds all of the conversation up to here.
    pub holds_to: u64,
}

/// A conversation in the read model, for one audience.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    log: &'a Log,
    home: ConversationSubjects,
    audience: Audience,
    /// The first sequence that the log has whole; 0 and 1: nothing was ever trimmed.
    horizon: u64,
    /// When an answer is no use any more.
    deadline: Instant,
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
}

impl<'a> Past<'a> {
    pub fn new(
        log: &'a Log,
        home: ConversationSubjects,
        audience: Audience,
        horizon: u64,
        wait: Duration,
    ) -> Self {
        Self { log, home, audience, horizon, deadline: Instant::now() + wait }
    }

    /// Below it there is no log to search instead.
    const fn is_beyond(&self, below: u64) -> bool {
        below <= self.horizon
    }

    /// The earliest events above `after` and below `below`, ascending; at most `limit`.
    pub async fn after(&self, mut after: u64, below: u64, limit: usize) -> Result<Vec<Shown>, ErrorBody> {
        let mut found: Vec<Shown> = Vec::new();
        while found.len() < limit && after.saturating_add(1) < below {
            let page = self.ask((None, Some(after)), below, limit - found.len()).await?;
            let events = page.events.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = events.last().map(|last| last.seq) else { break };
            found.extend(events.into_iter().filter(|event| event.seq < below));
            after = last;
            if !page.has_more {
                break;
            }
        }
        Ok(found)
    }

    /// Latest events below `below`, ascending: at most `limit`, and fewer where they are long; and whether there are more.
    pub async fn before(&self, below: u64, limit: usize) -> Result<(Vec<Shown>, bool), ErrorBody> {
        if below <= 1 {
            return Ok((Vec::new(), false));
        }
        let page = self.ask((Some(below), None), below, limit).await?;
        let events = page.events.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
        let has_more = page.has_more && !events.is_empty();
        Ok((events, has_more))
    }

    /// Where the event with this id is, as far as the read model holds the conversation.
    pub async fn find(&self, id: EventId) -> Result<Found, ErrorBody> {
        let request = HistoryRequest { event_id: Some(id), ..self.page(None, None, 1) };
        let answer = self.answer(&request, self.horizon > 1).await?;
        let (holds_to, seq) = (answer.holds_to, answer.event_seq);
        match answer.into_result() {
            // The read model has been past the horizon for long: what it does not know was erased.
            Err(error) if error.code == ErrorCode::NotFound => {
                Ok(Found { seq: None, holds_to: self.horizon.saturating_sub(1) })
            }
            Err(error) => Err(error),
            // A neighbour of before answers with a page.
            Ok(page) if !page.events.is_empty() => Err(away("it cannot look for an event")),
            Ok(_) => {
                holds_to.map(|holds_to| Found { seq, holds_to }).ok_or_else(|| away("it has nothing yet"))
            }
        }
    }

    /// A page of what lies below `below`.
    async fn ask(
        &self,
        (before_seq, after_seq): (Option<u64>, Option<u64>),
        below: u64,
        limit: usize,
    ) -> Result<EventPage, ErrorBody> {
        let is_beyond = self.is_beyond(below);
        let answer = self.answer(&self.page(before_seq, after_seq, limit), is_beyond).await?;
        let holds_to = answer.holds_to;
        match answer.into_result() {
            // The read model has been past the horizon for long: what it does not know was erased.
            Err(error) if is_beyond && error.code == ErrorCode::NotFound => {
                Ok(EventPage { events: Vec::new(), has_more: false })
            }
            Ok(_) if !is_beyond && holds_to.is_none_or(|seq| seq.saturating_add(1) < below) => {
                Err(away("the read model is not as far"))
            }
            answered => answered,
        }
    }

    fn page(&self, before_seq: Option<u64>, after_seq: Option<u64>, limit: usize) -> HistoryRequest {
        let (conversation_id, audience) = (self.home.conversation, self.audience);
        let limit = limit.min(PAGE_MAX);
        HistoryRequest { conversation_id, audience, before_seq, after_seq, event_id: None, limit }
    }

    /// Asks, unless the log can be searched instead and there was no answer a moment ago.
    async fn answer(&self, request: &HistoryRequest, is_beyond: bool) -> Result<HistoryAnswer, ErrorBody> {
        let historian = self.log.historian();
        if !is_beyond && !historian.may_ask(Instant::now()) {
            return Err(away("it did not answer a moment ago"));
        }
        let answer = self.request(request).await.inspect_err(|_| historian.failed(Instant::now()))?;
        match answer.holds_to {
            // A neighbour of before does not say it, and is no use above the horizon.
            None if !is_beyond && answer.page.is_some() => historian.failed(Instant::now()),
            _ => historian.heard(),
        }
        Ok(answer)
    }

    async fn request(&self, request: &HistoryRequest) -> Result<HistoryAnswer, ErrorBody> {
        let payload = serde_json::to_vec(request).map_err(|_| ErrorBody::from(ErrorCode::Internal))?;
        // The deadline is the caller's; the client's own would be another error.
        let request = Request::new().payload(payload.into()).timeout(None);
        let subject = subject::history(self.home.shard, self.home.tenant);
        let asked = self.log.bus().client.send_request(subject, request);
        let answer = match timeout_at(self.deadline, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                return Err(away("nobody answers"));
            }
            Ok(Err(_)) => return Err(away("the bus is away")),
            Err(_) => return Err(away("no answer in time")),
        };
        serde_json::from_slice(&answer.payload).map_err(|error| {
            tracing::error!(%error, "an answer with history cannot be read");
            ErrorBody::from(ErrorCode::Internal)
        })
    }
}

fn shown(event: Box<RawValue>) -> Result<Shown, ErrorBody> {
    match serde_json::from_str::<Place>(event.get()) {
        Ok(Place { seq }) => Ok(Shown { seq, event }),
        Err(error) => {
            tracing::error!(%error, "an event of the history has no place");
            Err(ErrorCode::Internal.into())
        }
    }
}

fn away(why: &'static str) -> ErrorBody {
    tracing::debug!(why, "history is not answered");
    ErrorBody::new(ErrorCode::Unavailable, "older events cannot be read now")
}
