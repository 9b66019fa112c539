//! Which edges hold their leases, and whether the bus can be asked about them at all.
//!
//! Invariant: an edge counts as gone only when a whole list of the keys was read without it; a marker that a lease
//! expired is only a hint to look.

use std::collections::BTreeSet;

use bus_schema::IncarnationId;

use crate::routing::Input;

#[derive(Debug)]
pub struct Edges {
    alive: BTreeSet<IncarnationId>,
    works: bool,
}

impl Default for Edges {
    fn default() -> Self {
        Self { alive: BTreeSet::new(), works: true }
    }
}

impl Edges {
    /// A lease was written.
    pub fn written(&mut self, edge: IncarnationId) -> Option<Input> {
        self.alive.insert(edge).then_some(Input::Lease { incarnation: edge, alive: true })
    }

    /// All leases there are.
    pub fn listed(&mut self, listed: BTreeSet<IncarnationId>) -> Vec<Input> {
        let mut inputs = Vec::new();
        if !std::mem::replace(&mut self.works, true) {
            inputs.push(Input::BusWorks);
        }
        let gone = self.alive.difference(&listed);
        inputs.extend(gone.map(|edge| Input::Lease { incarnation: *edge, alive: false }));
        let came = listed.difference(&self.alive);
        inputs.extend(came.map(|edge| Input::Lease { incarnation: *edge, alive: true }));
        self.alive = listed;
        inputs
    }

    /// They could not be listed in time.
    pub fn unlisted(&mut self) -> Option<Input> {
        std::mem::replace(&mut self.works, false).then_some(Input::BusDown)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn edge(n: u128) -> IncarnationId {
        IncarnationId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn an_edge_is_gone_when_a_list_was_read_without_it_and_an_outage_is_told_first() {
        let mut edges = Edges::default();
        assert!(matches!(edges.written(edge(1)), Some(Input::Lease { alive: true, .. })));
        assert!(edges.written(edge(1)).is_none());
        assert!(matches!(edges.unlisted(), Some(Input::BusDown)));
        assert!(edges.unlisted().is_none());
        let inputs = edges.listed([edge(2)].into());
        assert!(matches!(
            inputs.as_slice(),
            [Input::BusWorks, Input::Lease { alive: false, .. }, Input::Lease { alive: true, .. }]
        ));
        assert!(edges.listed([edge(2)].into()).is_empty());
    }
}
