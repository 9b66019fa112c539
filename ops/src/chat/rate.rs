//! Rating a thread: once, by its visitor, until a week after its end.
//!
//! Invariant: a thread has one rating for ever, because its event's id is made of the thread; the same rating again is
//! the same, another one is refused.

use bus_schema::{
    Author, Body, ClientId, ErrorBody, ErrorCode, Event, Lane, ThreadId, Timestamp, Visibility, VisitorId,
    event::Rated,
    limits::{COMMENT_CHARS_MAX, RATE_WITHIN_MS},
    protocol::ThreadSummary,
    subject::ConversationSubjects,
};

use super::{Draft, Sent, find, send, threads, unreadable};
use crate::log::Log;

/// What a visitor says of a thread; none: the open one, else the last.
#[derive(Debug, Clone)]
pub struct Rating {
    pub home: ConversationSubjects,
    pub visitor: VisitorId,
    pub thread: Option<ThreadId>,
    pub score: u8,
    pub comment: Option<String>,
}

/// Stores a rating. Pointers of errors begin with `at`.
pub async fn rate(log: &Log, rating: &Rating, now: Timestamp, at: &str) -> Result<Sent, ErrorBody> {
    checked(rating, at)?;
    let known = threads(log, rating.home).await?.list;
    let last = known.back().ok_or(ErrorCode::NotFound)?;
    let thread = match rating.thread {
        None => last,
        Some(id) => known.iter().find(|thread| thread.id == id).ok_or_else(|| {
            ErrorBody::field(format!("{at}/thread_id"), "there is no such thread in this conversation")
        })?,
    };
    if is_over(thread, now) {
        return Err(ErrorBody::new(ErrorCode::Conflict, "a thread is rated within 7 days of its end"));
    }
    let draft = rating.draft(thread.id);
    // A send looks for itself only since the open thread began.
    if let Some(seq) = find(log, rating.home, Lane::Msg, thread.started_seq, draft.event_id()).await? {
        rating.is_same(log, seq).await?;
        let life = super::life(log, rating.home).await?.ok_or(ErrorCode::NotFound)?;
        return Ok(Sent { event_id: draft.event_id(), seq, duplicate: true, life });
    }
    let sent = send(log, &draft, None, |_| Ok(())).await?;
    if sent.duplicate {
        rating.is_same(log, sent.seq).await?;
    }
    Ok(sent)
}

fn checked(rating: &Rating, at: &str) -> Result<(), ErrorBody> {
    if !(1..=5).contains(&rating.score) {
        return Err(ErrorBody::field(format!("{at}/score"), "1 to 5"));
    }
    let long = |text: &String| text.chars().count() > COMMENT_CHARS_MAX || text.contains('\0');
    if rating.comment.as_ref().is_some_and(long) {
        let most = format!("at most {COMMENT_CHARS_MAX} characters, none of them U+0000");
        return Err(ErrorBody::field(format!("{at}/comment"), most));
    }
    Ok(())
}

fn is_over(thread: &ThreadSummary, now: Timestamp) -> bool {
    let since = thread.closed_at.map_or(0, |closed| now.millis().saturating_sub(closed.millis()));
    u64::try_from(since).is_ok_and(|since| since > RATE_WITHIN_MS)
}

impl Rating {
    fn body(&self) -> Rated {
        Rated { score: self.score, comment: self.comment.clone().filter(|text| !text.trim().is_empty()) }
    }

    fn draft(&self, thread: ThreadId) -> Draft {
        Draft {
            home: self.home,
            author: Author::visitor(self.visitor),
            client_id: ClientId::new(format!("rate-{thread}")).expect("41 characters of the alphabet"),
            visibility: Visibility::All,
            body: Body::Rated(self.body()),
            thread: Some(thread),
            retry: false,
            cause: None,
        }
    }

    /// Whether what is stored there says the same.
    async fn is_same(&self, log: &Log, seq: u64) -> Result<(), ErrorBody> {
        let subject = self.home.lane(Lane::Msg).to_string();
        let found = log.read_leader(&subject, seq, 1).await.map_err(|error| unreadable(&error))?;
        let stored = found.first().and_then(|message| Event::decode(&message.payload).ok());
        match stored.map(|event| event.body) {
            Some(Body::Rated(rated)) if rated == self.body() => Ok(()),
            _ => Err(ErrorBody::new(ErrorCode::AlreadyExists, "the thread is rated already")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::state::ThreadStatus;

    #[test]
    fn a_thread_is_rated_until_a_week_after_its_end() {
        let end = Timestamp::from_millis(1_000);
        let thread = |closed_at| ThreadSummary {
            id: ThreadId::NIL,
            status: ThreadStatus::Closed,
            group_id: None,
            assignee_id: None,
            started_at: Timestamp::from_millis(0),
            started_seq: 1,
            closed_at,
            close_reason: None,
        };
        let week = i64::try_from(RATE_WITHIN_MS).unwrap();
        let later = |ms: i64| Timestamp::from_millis(1_000 + ms);
        assert!(!is_over(&thread(Some(end)), later(week)));
        assert!(is_over(&thread(Some(end)), later(week + 1)));
        assert!(!is_over(&thread(None), later(week + 1)), "an open thread");
    }
}
