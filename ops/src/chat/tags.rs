//! A thread's tags: the sum of its notes.

use std::{collections::BTreeSet, ops::ControlFlow};

use bus_schema::{Body, ErrorBody, Event, Lane, TagId, subject::ConversationSubjects};

use super::{Life, Span, slice, unreadable};
use crate::log::Log;

/// The tags that the thread of `life` has now.
pub async fn tags(log: &Log, home: ConversationSubjects, life: &Life) -> Result<BTreeSet<TagId>, ErrorBody> {
    tags_until(log, home, life, u64::MAX).await
}

/// The tags that it had at a sequence.
pub async fn tags_until(
    log: &Log,
    home: ConversationSubjects,
    life: &Life,
    up_to: u64,
) -> Result<BTreeSet<TagId>, ErrorBody> {
    let subject = home.lane(Lane::Note).to_string();
    let mut tags = BTreeSet::new();
    let last = log.last(&subject).await.map_err(|error| unreadable(&error))?;
    let end = last.map_or(0, |last| last.seq).min(up_to);
    slice(log, &subject, Span::new(life.started_seq(), end), |message| {
        if let Ok(event) = Event::decode(&message.payload) {
            apply(&mut tags, &event.body);
        }
        ControlFlow::Continue(())
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(tags)
}

/// What an event does to the tags.
fn apply(tags: &mut BTreeSet<TagId>, body: &Body) {
    match body {
        Body::Tagged(data) => drop(tags.insert(data.tag_id)),
        Body::Untagged(data) => drop(tags.remove(&data.tag_id)),
        _ => {}
    }
}
