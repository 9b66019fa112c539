//! Whether people see an event still: it is stored, and nobody deleted it.

use std::ops::ControlFlow;

use bus_schema::{Body, ErrorBody, Event, EventId, Lane, event::Kind, subject::ConversationSubjects};

use super::{Head, Span, slice, unreadable};
use crate::log::Log;

/// Looks for an event on a lane from sequence `from` on, and for its deletion, up to an end that the leader names.
pub async fn shown(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    from: u64,
    id: EventId,
) -> Result<bool, ErrorBody> {
    let subject = home.lane(lane).to_string();
    let Some(end) = log.last(&subject).await.map_err(|error| unreadable(&error))? else { return Ok(false) };
    let (mut stored, mut deleted) = (false, false);
    slice(log, &subject, Span::new(from, end.seq), |message| {
        let Ok(head) = Head::decode(&message.payload) else { return ControlFlow::Continue(()) };
        stored |= head.id == id;
        if head.kind() == Some(Kind::MessageDeleted) {
            deleted = Event::decode(&message.payload)
                .is_ok_and(|event| matches!(event.body, Body::MessageDeleted(d) if d.target_id == id));
        }
        if deleted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await
    .map_err(|error| unreadable(&error))?;
    // What was trimmed lies in the read model alone, and was sent.
    let trimmed = from < log.known_horizon();
    Ok((stored || trimmed) && !deleted)
}
