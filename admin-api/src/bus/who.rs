//! Asking all edges which visitors of a tenant have a connection now.
//!
//! Invariant: it ends once every edge with a lease has answered. Of everyone's list, one that does not answer in time is taken
//! for dead, with its visitors, unless none does; of certain visitors, it is not known then whether those are there whom no
//! other edge has.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use bus_schema::{
    ConversationId, IncarnationId, VisitorId,
    protocol::VisitorPresence,
    signal::Who,
    stream::{LEASES, leased_edge},
};
use ops::{
    chat,
    kv::{Kv, KvError},
    nats::Bus,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

use super::Link;
use crate::{access::Caller, http::Problem};

/// How long edges have to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The same where it is only part of what is shown.
const SHOWN_WITHIN: Duration = Duration::from_millis(200);
/// So long the edges that there were are taken for those that there are, where it is only part of what is shown.
const EDGES_FOR: Duration = Duration::from_secs(1);
/// Visitors that are gathered; more are not shown.
const VISITORS_MAX: usize = 20_000;
const RETRY: Duration = Duration::from_secs(1);

/// Those who are online, by id.
#[derive(Debug, Default)]
struct Here(BTreeMap<VisitorId, VisitorPresence>);

impl Here {
    /// An edge's word. A visitor may be at several.
    fn hear(&mut self, visitors: Vec<VisitorPresence>) {
        for visitor in visitors.into_iter().filter(|visitor| visitor.online) {
            let full = self.0.len() >= VISITORS_MAX;
            match self.0.entry(visitor.id) {
                Entry::Vacant(_) if full => {}
                Entry::Vacant(entry) => drop(entry.insert(visitor)),
                // A connection that says nothing of a page or a group takes none away.
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.page = known.page.take().or(visitor.page);
                    known.group_id = known.group_id.or(visitor.group_id);
                }
            }
        }
    }
}

/// Which edges there were lately. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Edges(Arc<Mutex<Option<Looked>>>);

#[derive(Debug)]
struct Looked {
    at: Instant,
    edges: BTreeSet<IncarnationId>,
}

impl Edges {
    async fn lately(&self, bus: &Bus) -> Option<BTreeSet<IncarnationId>> {
        let (known, bus) = (self.0.clone(), bus.clone());
        // A task of its own: who does not wait for it leaves what it found to the next.
        let asked = tokio::spawn(timeout(ANSWER_WITHIN, async move {
            let mut known = known.lock().await;
            if let Some(looked) = known.as_ref().filter(|looked| looked.at.elapsed() < EDGES_FOR) {
                return Some(looked.edges.clone());
            }
            let edges = edges(&bus).await.ok()?;
            *known = Some(Looked { at: Instant::now(), edges: edges.clone() });
            Some(edges)
        }));
        asked.await.ok()?.ok()?
    }
}

/// Those with a lease.
async fn edges(bus: &Bus) -> Result<BTreeSet<IncarnationId>, KvError> {
    let keys = Kv::open(bus, LEASES).await?.keys().await?;
    Ok(keys.iter().filter_map(|key| leased_edge(key)).collect())
}

/// Which visitors of certain conversations are online.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Online {
    there: BTreeSet<ConversationId>,
    /// Every edge has answered: the others are not.
    is_whole: bool,
}

impl Online {
    /// None: nobody knows.
    pub fn of(&self, conversation: ConversationId) -> Option<bool> {
        let is_there = self.there.contains(&conversation);
        (is_there || self.is_whole).then_some(is_there)
    }
}

impl Link {
    /// Which visitors of these conversations are online, as far as the edges say so soon.
    pub async fn online(&self, caller: &Caller, conversations: Vec<ConversationId>) -> Online {
        let mut online = Online::default();
        // To name none would be to ask about everyone.
        let Some(bus) = self.get().ok().filter(|_| !conversations.is_empty()) else { return online };
        let end = Instant::now() + SHOWN_WITHIN;
        let Ok(Some(mut silent)) = timeout_at(end, self.edges.lately(&bus)).await else { return online };
        if silent.is_empty() {
            online.is_whole = true;
            return online;
        }
        let about = Who { conversations, ..Who::default() };
        let left = end.saturating_duration_since(Instant::now());
        let asked = chat::who(&bus.client, (caller.shard, caller.tenant), &about, left, |edge, visitors| {
            silent.remove(&edge);
            let there = visitors.iter().filter(|visitor| visitor.online);
            online.there.extend(there.map(|visitor| visitor.conversation_id));
            if silent.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let is_sure = asked.await;
        online.is_whole = is_sure && silent.is_empty();
        online
    }

    /// Visitors of the caller's tenant who are online on any edge, by id.
    pub async fn visitors_online(&self, caller: &Caller) -> Result<Vec<VisitorPresence>, Problem> {
        let bus = self.get()?;
        let mut silent = edges(&bus).await.map_err(|error| away(&error))?;
        if silent.is_empty() {
            return Ok(Vec::new());
        }
        let edges = silent.len();
        let mut here = Here::default();
        let about = Who { each_answers: true, ..Who::default() };
        let asked =
            chat::who(&bus.client, (caller.shard, caller.tenant), &about, ANSWER_WITHIN, |edge, visitors| {
                silent.remove(&edge);
                here.hear(visitors);
                if silent.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        if !asked.await {
            return Err(Problem::unavailable("the edges cannot be asked now", RETRY));
        }
        // Not a word from any: they did not hear the question, or may not answer it. Nobody knows who is there.
        if silent.len() == edges {
            return Err(Problem::unavailable("no edge says who is there", RETRY));
        }
        if !silent.is_empty() {
            tracing::debug!(edges = silent.len(), "edges did not say who is there");
        }
        Ok(here.0.into_values().collect())
    }
}

fn away(error: &KvError) -> Problem {
    tracing::warn!(%error, "which edges there are cannot be read now");
    Problem::unavailable("the bus is away", RETRY)
}

#[cfg(test)]
mod tests {
    use bus_schema::{GroupId, state::Page};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_visitor_at_two_edges_is_one_and_keeps_the_page() {
        let group = Some(GroupId::from_uuid(Uuid::from_u128(7)));
        let word = |n, page: Option<&str>, group_id| VisitorPresence {
            id: VisitorId::from_uuid(Uuid::from_u128(n)),
            conversation_id: ConversationId::NIL,
            online: true,
            page: page.map(|url| Page { url: url.into(), title: None }),
            group_id,
        };
        let mut here = Here::default();
        here.hear(vec![word(2, Some("/a"), None), VisitorPresence { online: false, ..word(3, None, None) }]);
        here.hear(vec![word(2, None, group), word(1, None, None)]);
        let all: Vec<_> = here.0.into_values().collect();
        assert_eq!(all, [word(1, None, None), word(2, Some("/a"), group)]);
    }

    #[test]
    fn who_is_not_seen_is_away_only_if_every_edge_has_answered() {
        let [here, away] = [1, 2].map(|n| ConversationId::from_uuid(Uuid::from_u128(n)));
        let said = |is_whole| Online { there: BTreeSet::from([here]), is_whole };
        assert_eq!([here, away].map(|id| said(true).of(id)), [Some(true), Some(false)]);
        assert_eq!([here, away].map(|id| said(false).of(id)), [Some(true), None]);
    }
}
