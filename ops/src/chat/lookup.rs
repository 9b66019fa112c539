//! Whether a send is in the log already.
//!
//! Invariant: "no" is said only after reading up to an end that the leader gave.

use std::ops::ControlFlow;

use bus_schema::{ErrorBody, EventId, Lane, subject::ConversationSubjects};

use super::{Head, Span, slice, unreadable};
use crate::log::Log;

/// The sequence of the event with this id on a lane, from sequence `from` on; the lowest if a retry added copies.
pub async fn find(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    from: u64,
    id: EventId,
) -> Result<Option<u64>, ErrorBody> {
    let subject = home.lane(lane).to_string();
    let Some(end) = log.last(&subject).await.map_err(|error| unreadable(&error))? else { return Ok(None) };
    let mut found = None;
    slice(log, &subject, Span::new(from, end.seq), |message| {
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
