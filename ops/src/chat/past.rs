//! What lies below the horizon: answered by admin-api from the read model (design §2.3).
//!
//! Invariant: below the horizon nothing of the log is used, and from it on nothing of the read model, so that no event
//! comes twice and none is left out, however much of the log was trimmed already.

use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use bus_schema::{
    Audience, ErrorBody, ErrorCode,
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

/// A conversation below the horizon, for one audience.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    pub log: &'a Log,
    pub home: ConversationSubjects,
    pub audience: Audience,
    /// The first sequence that the log has whole; 0 and 1: nothing was ever trimmed.
    pub horizon: u64,
    /// When an answer is no use any more.
    pub deadline: Instant,
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

    /// The earliest events above `after`, ascending; at most `limit`.
    pub async fn after(&self, mut after: u64, limit: usize) -> Result<Vec<Shown>, ErrorBody> {
        let mut found: Vec<Shown> = Vec::new();
        while found.len() < limit && after.saturating_add(1) < self.horizon {
            let page = self.ask(None, Some(after), limit - found.len()).await?;
            let events = page.events.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = events.last().map(|last| last.seq) else { break };
            found.extend(events.into_iter().filter(|event| event.seq < self.horizon));
            after = last;
            if !page.has_more {
                break;
            }
        }
        Ok(found)
    }

    /// The latest events below `before`, ascending; at most `limit`.
    pub async fn before(&self, before: u64, limit: usize) -> Result<Vec<Shown>, ErrorBody> {
        let mut before = before.min(self.horizon);
        let mut pieces: Vec<Vec<Shown>> = Vec::new();
        let mut wanted = limit;
        while wanted > 0 && before > 1 {
            let page = self.ask(Some(before), None, wanted).await?;
            let events = page.events.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
            let Some(first) = events.first().map(|first| first.seq) else { break };
            wanted = wanted.saturating_sub(events.len());
            before = first;
            pieces.push(events);
            if !page.has_more {
                break;
            }
        }
        Ok(pieces.into_iter().rev().flatten().collect())
    }

    async fn ask(
        &self,
        before_seq: Option<u64>,
        after_seq: Option<u64>,
        limit: usize,
    ) -> Result<EventPage, ErrorBody> {
        let ConversationSubjects { shard, tenant, conversation } = self.home;
        let limit = limit.min(PAGE_MAX);
        let wanted = HistoryRequest {
            conversation_id: conversation,
            audience: self.audience,
            before_seq,
            after_seq,
            limit,
        };
        let payload = serde_json::to_vec(&wanted).map_err(|_| ErrorBody::from(ErrorCode::Internal))?;
        // The deadline is the caller's; the client's own would be another error.
        let request = Request::new().payload(payload.into()).timeout(None);
        let asked = self.log.bus().client.send_request(subject::history(shard, tenant), request);
        let answer = match timeout_at(self.deadline, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(away(error.kind())),
            Err(_) => return Err(away(RequestErrorKind::TimedOut)),
        };
        let answer: HistoryAnswer = serde_json::from_slice(&answer.payload).map_err(|error| {
            tracing::error!(%error, "an answer with history cannot be read");
            ErrorBody::from(ErrorCode::Internal)
        })?;
        match answer.into_result() {
            // The read model has been past the horizon for long: what it does not know was erased.
            Err(error) if error.code == ErrorCode::NotFound => {
                Ok(EventPage { events: Vec::new(), has_more: false })
            }
            answered => answered,
        }
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

fn away(kind: RequestErrorKind) -> ErrorBody {
    tracing::debug!(?kind, "history is not answered");
    ErrorBody::new(ErrorCode::Unavailable, "older events cannot be read now")
}
