//! One connection's subscription to a view: what it was told, and what it is to be told next.
//!
//! Invariant: once nothing more is heard, what was told is the view as it is; each conversation is told of at most once
//! a second. A list replaces what signals did not touch while it was on its way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use bus_schema::{
    AgentId, ConversationId, GroupId, command::View, protocol::ConversationView, state::ThreadStatus,
};
use tokio::time::Instant;

/// Conversations that one subscription follows: the first of the list; of those beyond, nothing is told.
pub const FOLLOWED_MAX: usize = 1_000;
const PACE: Duration = Duration::from_secs(1);

/// Which view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Which {
    pub view: View,
    pub group_id: Option<GroupId>,
}

impl Which {
    /// Whether an open thread belongs to it; `sees` says whether its group is the agent's business.
    pub fn holds(self, agent: AgentId, sees: bool, conversation: &ConversationView) -> bool {
        let thread = &conversation.thread;
        let own = thread.assignee_id == Some(agent) || conversation.participants.contains(&agent);
        let of_group = sees && self.group_id.is_none_or(|group| thread.group_id == Some(group));
        match self.view {
            View::Mine => own,
            View::Queue => of_group && thread.status == ThreadStatus::Queued,
            View::Group => of_group,
            View::All => of_group || (own && self.group_id.is_none()),
        }
    }
}

/// What to push.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Available(ConversationView),
    Updated(ConversationView),
    Removed(ConversationId),
}

#[derive(Debug)]
pub struct Subscription {
    pub which: Which,
    known: HashMap<ConversationId, Known>,
    /// As it is now, where that may be news: none is not in the view.
    pending: BTreeMap<ConversationId, Option<(ConversationView, u64)>>,
    /// Of whom something was told within the last second.
    told: HashMap<ConversationId, Instant>,
    /// Heard of while a list is on its way.
    touched: Option<HashSet<ConversationId>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    digest: u64,
    seq: u64,
}

impl Subscription {
    pub fn new(which: Which) -> Self {
        Self { which, known: HashMap::new(), pending: BTreeMap::new(), told: HashMap::new(), touched: None }
    }

    /// A list is asked for: it says nothing of what is heard from now on.
    pub fn asked(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// A thread changed; `inside` says whether it is in the view now.
    pub fn heard(&mut self, conversation: &ConversationView, seq: u64, inside: bool) {
        if let Some(touched) = &mut self.touched {
            touched.insert(conversation.id);
        }
        let known = self.known.get(&conversation.id);
        let waits = self.pending.get(&conversation.id).and_then(Option::as_ref);
        if known.is_some_and(|known| known.seq > seq) || waits.is_some_and(|(_, newer)| *newer > seq) {
            return;
        }
        if known.is_none() && !inside {
            // It came and went before anybody was told.
            self.pending.remove(&conversation.id);
            return;
        }
        self.pending.insert(conversation.id, inside.then(|| (conversation.clone(), seq)));
    }

    /// The view as the router had it; `whole` unless it was longer than what is followed. The first list is what the
    /// subscriber reads itself: nothing of it is told.
    pub fn listed(&mut self, list: Vec<ConversationView>, whole: bool, first: bool) {
        let touched = self.touched.take().unwrap_or_default();
        let there: HashSet<_> = list.iter().map(|conversation| conversation.id).collect();
        for conversation in list.into_iter().filter(|conversation| !touched.contains(&conversation.id)) {
            let (id, digest) = (conversation.id, digest(&conversation));
            let seq = self.known.get(&id).map_or(0, |known| known.seq);
            if first {
                self.known.insert(id, Known { digest, seq });
            } else {
                self.pending.insert(id, Some((conversation, seq)));
            }
        }
        let gone = self.known.keys().filter(|id| whole && !there.contains(*id) && !touched.contains(*id));
        self.pending.extend(gone.map(|id| (*id, None)));
    }

    /// When there may be something to tell.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let at = |id: &ConversationId| self.told.get(id).map_or(now, |told| *told + PACE);
        self.pending.keys().map(at).min()
    }

    /// What is to be told now.
    pub fn take(&mut self, now: Instant) -> Vec<Told> {
        self.told.retain(|_, told| now.saturating_duration_since(*told) < PACE);
        let told = &self.told;
        let due: Vec<_> = self.pending.extract_if(.., |id, _| !told.contains_key(id)).collect();
        due.into_iter().filter_map(|(id, change)| self.tell(id, change, now)).collect()
    }

    fn tell(
        &mut self,
        id: ConversationId,
        change: Option<(ConversationView, u64)>,
        now: Instant,
    ) -> Option<Told> {
        let before = self.known.get(&id).copied();
        let news = match (before, change) {
            (None, None) => return None,
            (Some(_), None) => {
                self.known.remove(&id);
                Told::Removed(id)
            }
            (None, Some(_)) if self.known.len() >= FOLLOWED_MAX => return None,
            (before, Some((conversation, seq))) => {
                let digest = digest(&conversation);
                self.known.insert(id, Known { digest, seq });
                match before {
                    None => Told::Available(conversation),
                    Some(before) if before.digest == digest => return None,
                    Some(_) => Told::Updated(conversation),
                }
            }
        };
        // What comes and goes as one's own is told wherever it is followed, subscribed or not.
        if self.which.view == View::Mine && !matches!(news, Told::Updated(_)) {
            return None;
        }
        self.told.insert(id, now);
        Some(news)
    }
}

fn digest(conversation: &ConversationView) -> u64 {
    let mut hasher = DefaultHasher::new();
    let json = serde_json::to_vec(conversation).expect("a view holds only ids, words and numbers");
    json.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bus_schema::{
        Timestamp, VisitorId,
        protocol::ThreadView,
        state::{Priority, ThreadStatus::*},
    };
    use uuid::Uuid;

    use super::*;

    const ME: AgentId = AgentId::from_uuid(Uuid::from_u128(7));
    const GROUP: GroupId = GroupId::from_uuid(Uuid::from_u128(8));
    const QUEUE: Which = Which { view: View::Queue, group_id: None };

    fn thread(n: u128, status: ThreadStatus, assignee_id: Option<AgentId>) -> ConversationView {
        ConversationView {
            id: ConversationId::from_uuid(Uuid::from_u128(n)),
            visitor_id: VisitorId::NIL,
            thread: ThreadView {
                id: bus_schema::ThreadId::NIL,
                status,
                group_id: Some(GROUP),
                assignee_id,
                started_at: Timestamp::from_millis(0),
                queue: None,
                tags: None,
            },
            priority: Priority::Normal,
            participants: Vec::new(),
            offered_to: Vec::new(),
        }
    }

    fn urgent(n: u128) -> ConversationView {
        ConversationView { priority: Priority::Urgent, ..thread(n, Queued, None) }
    }

    #[test]
    fn views_hold_what_their_names_say() {
        let which = |view, group_id| Which { view, group_id };
        let other = Some(GroupId::NIL);
        let (mine, waits) = (thread(1, Active, Some(ME)), thread(2, Queued, None));
        for (which, sees, conversation, holds) in [
            (which(View::Mine, None), false, &mine, true),
            (which(View::Mine, None), true, &waits, false),
            (QUEUE, true, &waits, true),
            (QUEUE, false, &waits, false),
            (QUEUE, true, &mine, false),
            (which(View::Queue, other), true, &waits, false),
            (which(View::Group, Some(GROUP)), true, &mine, true),
            (which(View::Group, Some(GROUP)), false, &mine, false),
            (which(View::All, None), false, &mine, true),
            (which(View::All, None), false, &waits, false),
            (which(View::All, other), true, &mine, false),
        ] {
            assert_eq!(which.holds(ME, sees, conversation), holds, "{which:?} {sees} {conversation:?}");
        }
    }

    #[test]
    fn a_conversation_is_told_of_once_a_second_and_as_it_is_then() {
        let now = Instant::now();
        let mut queue = Subscription::new(QUEUE);
        queue.heard(&thread(1, Queued, None), 1, true);
        assert_eq!(queue.due(now), Some(now));
        assert_eq!(queue.take(now), [Told::Available(thread(1, Queued, None))]);
        queue.heard(&urgent(1), 2, true);
        queue.heard(&thread(1, Active, None), 3, false);
        queue.heard(&urgent(1), 4, true);
        assert_eq!(queue.take(now), []);
        assert_eq!(queue.due(now), Some(now + PACE));
        assert_eq!(queue.take(now + PACE), [Told::Updated(urgent(1))]);
        // What came and went between was nothing.
        queue.heard(&thread(2, Queued, None), 5, true);
        queue.heard(&thread(2, Active, None), 6, false);
        queue.heard(&urgent(1), 7, true);
        assert_eq!(queue.take(now + 3 * PACE), []);
    }

    #[test]
    fn an_older_word_never_replaces_a_newer_one() {
        let now = Instant::now();
        let mut queue = Subscription::new(QUEUE);
        queue.heard(&urgent(1), 9, true);
        assert_eq!(queue.take(now).len(), 1);
        queue.heard(&thread(1, Queued, None), 8, true);
        queue.heard(&thread(1, Active, None), 7, false);
        assert_eq!(queue.take(now + PACE), []);
    }

    #[test]
    fn a_list_tells_the_difference_except_of_what_was_heard_meanwhile() {
        let now = Instant::now();
        let mut queue = Subscription::new(QUEUE);
        queue.asked();
        queue.listed((1..=3).map(|n| thread(n, Queued, None)).collect(), true, true);
        assert_eq!(queue.take(now), []);
        queue.asked();
        queue.heard(&thread(4, Queued, None), 9, true);
        queue.heard(&urgent(3), 9, true);
        queue.listed(
            vec![thread(1, Queued, None), thread(3, Queued, None), thread(5, Queued, None)],
            true,
            false,
        );
        let id = thread(2, Queued, None).id;
        let expected = [
            Told::Removed(id),
            Told::Updated(urgent(3)),
            Told::Available(thread(4, Queued, None)),
            Told::Available(thread(5, Queued, None)),
        ];
        assert_eq!(queue.take(now), expected);
        // A list that was cut short says nothing of what it leaves out.
        queue.asked();
        queue.listed(vec![thread(1, Queued, None)], false, false);
        assert_eq!(queue.take(now + PACE), []);
    }

    #[test]
    fn ones_own_come_and_go_elsewhere() {
        let now = Instant::now();
        let mut mine = Subscription::new(Which { view: View::Mine, group_id: None });
        let active = thread(1, Active, Some(ME));
        mine.heard(&active, 1, true);
        assert_eq!(mine.take(now), []);
        let raised = ConversationView { priority: Priority::High, ..active.clone() };
        mine.heard(&raised, 2, true);
        assert_eq!(mine.take(now), [Told::Updated(raised)]);
        mine.heard(&active, 3, false);
        assert_eq!(mine.take(now + PACE), []);
    }
}
