//! A thread's tags: the sum of its notes.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use bus_schema::{
    Audience, Body, ErrorBody, Event, Lane, TagId, limits::PAGE_MAX, subject::ConversationSubjects,
};

use super::{Life, Span, past::Past, slice, unreadable};
use crate::log::Log;

/// How long the read model has for what was trimmed.
const PAST_WAIT: Duration = Duration::from_secs(1);

/// The tags that the thread of `life` has now.
pub async fn tags(log: &Log, home: ConversationSubjects, life: &Life) -> Result<BTreeSet<TagId>, ErrorBody> {
    tags_until(log, home, life, u64::MAX).await
}

/// The tags that it had at a sequence. What was set below the horizon is known to the read model alone: without it, it is
/// left out.
pub async fn tags_until(
    log: &Log,
    home: ConversationSubjects,
    life: &Life,
    up_to: u64,
) -> Result<BTreeSet<TagId>, ErrorBody> {
    let subject = home.lane(Lane::Note).to_string();
    let horizon = log.known_horizon();
    let mut tags = trimmed(log, home, life, horizon).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "tags without what is below the horizon");
        BTreeSet::new()
    });
    let last = log.last(&subject).await.map_err(|error| unreadable(&error))?;
    let end = last.map_or(0, |last| last.seq).min(up_to);
    let from = life.started_seq().max(horizon);
    slice(log, &subject, Span::new(from, end), |message| {
        if let Ok(event) = Event::decode(&message.payload) {
            apply(&mut tags, &event.body);
        }
        ControlFlow::Continue(())
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(tags)
}

/// Those of the thread that were set below the horizon, and not removed there.
async fn trimmed(
    log: &Log,
    home: ConversationSubjects,
    life: &Life,
    horizon: u64,
) -> Result<BTreeSet<TagId>, ErrorBody> {
    let (mut tags, mut after) = (BTreeSet::new(), life.started_seq());
    let past = Past::new(log, home, Audience::Staff, horizon, PAST_WAIT);
    while after.saturating_add(1) < horizon {
        let found = past.after(after, horizon, PAGE_MAX).await?;
        let Some(last) = found.last() else { break };
        after = last.seq;
        let events = found.iter().filter_map(|shown| Event::decode(shown.event.get().as_bytes()).ok());
        events.for_each(|event| apply(&mut tags, &event.body));
    }
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
