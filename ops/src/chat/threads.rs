//! A conversation's threads, from its `life`.
//!
//! Invariant: every `life` message carries the state after it, so the last one of a thread says all of it.

use std::{collections::VecDeque, ops::ControlFlow};

use bus_schema::{
    Body, ErrorBody, Event, Lane, limits::THREADS_MAX, protocol::ThreadSummary, state::ThreadStatus,
    subject::ConversationSubjects,
};

use super::{Span, slice, unreadable};
use crate::log::{Log, StoredMsg};

/// The latest threads, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Threads {
    pub list: VecDeque<ThreadSummary>,
    pub has_more: bool,
}

/// Reads them; none: there is no conversation.
pub async fn threads(log: &Log, home: ConversationSubjects) -> Result<Threads, ErrorBody> {
    let subject = home.lane(Lane::Life).to_string();
    let mut threads = Threads::default();
    let Some(end) = log.last(&subject).await.map_err(|error| unreadable(&error))? else { return Ok(threads) };
    slice(log, &subject, Span::new(1, end.seq), |message| {
        threads.learn(&message);
        ControlFlow::Continue(())
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(threads)
}

impl Threads {
    fn learn(&mut self, message: &StoredMsg) {
        let Ok(event) = Event::decode(&message.payload) else { return };
        let Some(state) = event.body.life_state() else { return };
        let closed = match &event.body {
            Body::Closed(closed) => Some(closed.reason),
            _ => None,
        };
        let known = self.list.back_mut().filter(|last| last.id == state.thread_id);
        let thread = match known {
            Some(known) => known,
            None => {
                if self.list.len() == THREADS_MAX {
                    self.list.pop_front();
                    self.has_more = true;
                }
                self.list.push_back(ThreadSummary {
                    id: state.thread_id,
                    status: state.status,
                    group_id: None,
                    assignee_id: None,
                    // In the first message itself the writer's clock stands.
                    started_at: if state.started_seq.is_some() { state.started_at } else { message.at },
                    started_seq: state.started_seq.unwrap_or(message.seq),
                    closed_at: None,
                    close_reason: None,
                });
                self.list.back_mut().expect("one was just pushed")
            }
        };
        thread.status = state.status;
        thread.group_id = state.group_id.or(thread.group_id);
        thread.assignee_id = state.assignee_id.or(thread.assignee_id);
        if state.status == ThreadStatus::Closed {
            thread.closed_at.get_or_insert(message.at);
            thread.close_reason = closed.or(thread.close_reason);
        }
    }
}
