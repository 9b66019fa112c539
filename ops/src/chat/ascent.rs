//! The first messages of a conversation from a sequence on.

use std::ops::ControlFlow;

use bus_schema::{Audience, subject::ConversationSubjects};

use super::{
    lanes::{Part, parts},
    slice,
};
use crate::log::{Log, ReadError, StoredMsg};

/// At most `most` messages from `from` through `up_to`, ascending, without a hole; the leader has said that something
/// at or above `up_to` exists.
pub async fn ascent(
    log: &Log,
    home: ConversationSubjects,
    audience: Audience,
    (from, up_to): (u64, u64),
    most: usize,
) -> Result<Vec<StoredMsg>, ReadError> {
    let parts = parts(log, home, (audience, audience.lanes()), (from, up_to)).await?;
    let found = futures::future::try_join_all(parts.iter().map(|part| first(log, part, most))).await?;
    // What is beyond the last one of a part that was cut is beyond `most` of all.
    let mut found: Vec<StoredMsg> = found.into_iter().flatten().collect();
    found.sort_unstable_by_key(|message| message.seq);
    found.truncate(most);
    Ok(found)
}

async fn first(log: &Log, part: &Part, most: usize) -> Result<Vec<StoredMsg>, ReadError> {
    let mut found = Vec::new();
    slice(log, &part.filter, part.span.about(most), |message| {
        found.push(message);
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    Ok(found)
}
