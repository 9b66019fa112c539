//! Whether a send is in the log already.
//!
//! Invariant: "no" is said only after reading up to an end that the leader gave.

use bus_schema::{ErrorBody, EventId, Lane, subject::ConversationSubjects};

use super::{EventsPast, Head, slice, unreadable};
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
    slice(log, &subject, from, end.seq, EventsPast::Drop, |message| {
        if found.is_none() && Head::decode(&message.payload).is_ok_and(|head| head.id == id) {
            found = Some(message.seq);
        }
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(found)
}
