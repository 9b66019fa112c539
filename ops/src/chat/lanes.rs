//! Which reads find the messages of a conversation at the least cost to the server.
//!
//! Invariant: together they hold every message of the wanted lanes up to the end, each of them once: a lane is left out
//! only where the leader, asked after the end was known, has nothing of it from the beginning on.

use bus_schema::{Audience, Lane, Subject, subject::ConversationSubjects};

use super::Span;
use crate::log::{Log, ReadError, StoredMsg};

/// Within so few sequences all lanes at once are found at no more cost than one after the other. Beyond, the server
/// looks at every message of anybody for a filter with a wildcard, and for a subject only between its first and its last
/// one.
const NEAR: u64 = 2_000;

/// One read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub filter: String,
    pub span: Span,
}

/// What to read for these lanes of the audience from `from` through `up_to`, which the leader has named as the end, or
/// something above it.
pub(super) async fn parts(
    log: &Log,
    home: ConversationSubjects,
    (audience, lanes): (Audience, &[Lane]),
    (from, up_to): (u64, u64),
) -> Result<Vec<Part>, ReadError> {
    if up_to < from {
        return Ok(Vec::new());
    }
    if up_to - from < NEAR {
        return Ok(vec![Part { filter: home.stored(audience), span: Span::new(from, up_to) }]);
    }
    let ends = ends(log, home, lanes).await?;
    let part = |(lane, end): (Lane, u64)| Part {
        filter: home.lane(lane).to_string(),
        span: Span::new(from, end.min(up_to)),
    };
    Ok(ends.into_iter().filter(|(_, end)| *end >= from).map(part).collect())
}

/// The last message of each lane that has any, from the leader.
pub async fn ends(
    log: &Log,
    home: ConversationSubjects,
    lanes: &[Lane],
) -> Result<Vec<(Lane, u64)>, ReadError> {
    let ends = lanes.iter().map(|lane| async move {
        let last = log.last(&home.lane(*lane).to_string()).await?;
        Ok(last.map(|last| (*lane, last.seq)))
    });
    Ok(futures::future::try_join_all(ends).await?.into_iter().flatten().collect())
}

/// The last message of each lane of an audience that has any, all as of one moment, from any server: however much else the
/// log holds in between, nothing of it is read.
pub async fn some_ends(
    log: &Log,
    home: ConversationSubjects,
    audience: Audience,
) -> Result<Vec<(Lane, u64)>, ReadError> {
    let found = log.last_of(&[home.stored(audience)]).await?;
    let end = |message: StoredMsg| {
        let (_, lane) = Subject::parse(&message.subject).ok()?.conversation()?;
        Some((lane, message.seq))
    };
    Ok(found.into_iter().filter_map(end).collect())
}
