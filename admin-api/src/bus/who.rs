//! Asking all edges which visitors of a tenant have a connection now.
//!
//! Invariant: it ends once every edge with a lease has answered; one that does not answer in time is taken for dead,
//! with its visitors, unless none does.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::ControlFlow,
    time::Duration,
};

use bus_schema::{
    IncarnationId, VisitorId,
    protocol::VisitorPresence,
    signal::Who,
    stream::{LEASES, leased_edge},
};
use ops::{
    chat,
    kv::{Kv, KvError},
};

use super::Link;
use crate::{access::Caller, http::Problem};

/// How long edges have to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
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

impl Link {
    /// Visitors of the caller's tenant who are online on any edge, by id.
    pub async fn visitors_online(&self, caller: &Caller) -> Result<Vec<VisitorPresence>, Problem> {
        let bus = self.get()?;
        let leases = Kv::open(&bus, LEASES).await.map_err(|error| away(&error))?;
        let keys = leases.keys().await.map_err(|error| away(&error))?;
        let mut silent: BTreeSet<IncarnationId> = keys.iter().filter_map(|key| leased_edge(key)).collect();
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
    use bus_schema::{ConversationId, GroupId, state::Page};
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
}
