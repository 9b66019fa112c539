//! One conversation as a client holds it.

use bus_schema::{
    AgentId, GroupId, Lane, ThreadId, Visibility,
    event::Kind,
    protocol::{MarkView, ThreadView},
    state::{LifeState, ThreadStatus},
};
use serde::Deserialize;

use super::{list::EventList, wire::EventHead};

/// The open thread, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadNow {
    pub id: ThreadId,
    pub status: ThreadStatus,
    pub assignee_id: Option<AgentId>,
    pub group_id: Option<GroupId>,
}

impl From<&ThreadView> for ThreadNow {
    fn from(view: &ThreadView) -> Self {
        Self { id: view.id, status: view.status, assignee_id: view.assignee_id, group_id: view.group_id }
    }
}

impl From<&LifeState> for ThreadNow {
    fn from(state: &LifeState) -> Self {
        Self {
            id: state.thread_id,
            status: state.status,
            assignee_id: state.assignee_id,
            group_id: state.group_id,
        }
    }
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub list: EventList,
    /// Where to resume; moved by pushes, snapshots and `caught_up` alone.
    pub cursor: Option<String>,
    pub caught_up: bool,
    /// Still the caller's own.
    pub mine: bool,
    pub thread: Option<ThreadNow>,
    /// As the last snapshot gave them.
    pub marks: Vec<MarkView>,
    /// Sequence that `thread` is of.
    thread_seq: u64,
}

impl Conversation {
    pub fn new(keep: usize) -> Self {
        Self {
            list: EventList::new(keep),
            cursor: None,
            caught_up: true,
            mine: true,
            thread: None,
            marks: Vec::new(),
            thread_seq: 0,
        }
    }

    pub fn move_cursor(&mut self, cursor: &str) {
        let kept = self.cursor.get_or_insert_default();
        kept.clear();
        kept.push_str(cursor);
    }

    pub fn set_thread(&mut self, view: Option<&ThreadView>) {
        self.thread = view.map(ThreadNow::from);
        self.thread_seq = self.list.last_seq();
    }

    /// State in a life event counts only if its sequence is the highest yet.
    pub fn follow_life(&mut self, head: &EventHead<'_>, raw: &str) {
        if head.seq <= self.thread_seq || !is_life(&head.kind) {
            return;
        }
        if let Ok(life) = serde_json::from_str::<LifeEvent>(raw) {
            self.thread = Some(ThreadNow::from(&life.data.state));
            self.thread_seq = head.seq;
        }
    }
}

fn is_life(kind: &str) -> bool {
    Kind::parse(kind).is_some_and(|kind| kind.lane(Visibility::All) == Some(Lane::Life))
}

/// The part of a life event that says how things stand after it.
#[derive(Deserialize)]
struct LifeEvent {
    data: LifeData,
}

#[derive(Deserialize)]
struct LifeData {
    state: LifeState,
}
