//! Requests to the router.
//!
//! Invariant: a repeat carries the same `command_id`, so that a router that did it once answers the same, and means the
//! same thread, so that it never happens to a later one.

use std::time::Duration;

use async_nats::RequestErrorKind;
use bus_schema::{
    CommandId, ErrorBody, ErrorCode, Shard, TenantId, ThreadId,
    command::{Actor, Answer, Command, CommandRequest, Outcome},
    subject::{self, ConversationSubjects},
};
use tokio::time::Instant;

use super::{life, start::now};
use crate::{log::Log, nats::Bus};

/// A try without an answer is repeated after this long.
const TRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// A new request.
pub fn command(actor: Actor, command: Command) -> CommandRequest {
    let command_id = CommandId::from_uuid(uuid::Uuid::now_v7());
    CommandRequest { command_id, actor, deadline: None, command }
}

/// Asks the router of a tenant, and again while it is away or silent, for at most `wait`; after that it will not happen
/// any more, unless it has happened already.
pub async fn ask(
    bus: &Bus,
    shard: Shard,
    tenant: TenantId,
    request: &CommandRequest,
    wait: Duration,
) -> Result<Answer, ErrorBody> {
    let subject = subject::commands(shard, tenant);
    let mut request = CommandRequest { deadline: Some(now().plus(wait)), ..request.clone() };
    if let Some((conversation, None)) = request.command.thread() {
        let home = ConversationSubjects { shard, tenant, conversation };
        request.command.name_thread(last_thread(bus, home).await?);
    }
    let payload = bytes::Bytes::from(serde_json::to_vec(&request).map_err(|_| ErrorCode::Internal)?);
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let question =
            async_nats::Request::new().payload(payload.clone()).timeout(Some(left.min(TRY).max(PAUSE)));
        let failed = match bus.client.send_request(subject.clone(), question).await {
            Ok(answer) => {
                let outcome: Outcome =
                    serde_json::from_slice(&answer.payload).map_err(|_| ErrorCode::Internal)?;
                return outcome.into_result();
            }
            Err(error) => error.kind(),
        };
        if Instant::now() + PAUSE >= end {
            return Err(match failed {
                RequestErrorKind::TimedOut => ErrorCode::Timeout.into(),
                RequestErrorKind::NoResponders
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other => {
                    ErrorBody::new(ErrorCode::Unavailable, "routing is away: try again shortly")
                }
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The thread that a command means which names none: the last one as it is asked.
async fn last_thread(bus: &Bus, home: ConversationSubjects) -> Result<ThreadId, ErrorBody> {
    let last = life(&Log::new(bus.clone(), home.shard), home).await?;
    last.map(|life| life.state.thread_id).ok_or_else(|| ErrorCode::NotFound.into())
}
