//! Whether a send is in the log already.
//!
//! Invariant: "no" is said only after reading up to an end that the leader gave; so many look at once, and the rest is
//! told to come back.

use std::{ops::ControlFlow, time::Duration};

use bus_schema::{ErrorBody, ErrorCode, EventId, Lane, subject::ConversationSubjects};

use super::{Head, Span, slice, unreadable};
use crate::log::Log;

/// Who has no turn tries again within these, each at their own moment.
const RETRY_AFTER_MS: std::ops::Range<u64> = 500..1_500;

/// The sequence of the event with this id on a lane, from sequence `from` on; the lowest if a retry added copies.
pub async fn find(
    log: &Log,
    home: ConversationSubjects,
    lane: Lane,
    from: u64,
    id: EventId,
) -> Result<Option<u64>, ErrorBody> {
    let subject = home.lane(lane).to_string();
    let Some(_turn) = log.lookup_turn().await else {
        let busy =
            ErrorBody::new(ErrorCode::Unavailable, "too many sends that may be stored are looked up now");
        return Err(busy.after(Duration::from_millis(rand::random_range(RETRY_AFTER_MS))));
    };
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
