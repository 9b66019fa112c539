//! Who is taken for gone, held to who is, at the moment of the decision.

use std::rc::Rc;

use bus_schema::{Body, Subject, event::AgentLostReason, state::AgentState};

use super::Found;
use crate::{
    routing::Write,
    sim::{
        bus::Stored,
        world::{GRACE, Payload, SKEW_MS, World},
    },
};

impl World {
    /// Nobody loses what they hold before the grace time is over, and no edge that works is taken for dead.
    pub fn check_leaving(&self, write: &Write) -> Result<(), Found> {
        // What is decided on an old state the log refuses.
        if self.clocks_are_wild() || !self.is_fresh(write) {
            return Ok(());
        }
        // Who says since when, and who says that it is over, may err in opposite ways.
        let grace = i64::try_from(GRACE.as_millis()).unwrap_or(i64::MAX) - 2 * SKEW_MS - 100;
        for message in &write.messages {
            match (message.subject, message.event.body.agent_state(), &message.event.body) {
                (Subject::Agent { agent, .. }, Some(state), _) => {
                    // What is decided on an old state the log refuses.
                    let kept =
                        self.ledger().agents.get(&agent).filter(|kept| Some(kept.seq) == message.expected);
                    if let Some(kept) = kept {
                        self.check_edges(&kept.state, state, grace)?;
                    }
                }
                (_, _, Body::AgentLost(lost)) if lost.reason == AgentLostReason::Disconnected => {
                    let since = self.away_since().get(&lost.agent_id);
                    if let Some(away) = since.map(|since| self.now() - since).filter(|away| *away < grace) {
                        return Err(("grace-is-kept", format!("{} is lost after {away} ms", lost.agent_id)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_edges(&self, before: &AgentState, after: &AgentState, grace: i64) -> Result<(), Found> {
        let connected = before.presence.iter().filter(|(_, presence)| presence.connections > 0);
        for (edge, _) in connected.filter(|(edge, _)| !after.presence.contains_key(edge)) {
            if let Some(away) = self.edge_away_ms(*edge).filter(|away| *away < grace) {
                return Err(("an-outage-logs-nobody-out", format!("{edge} counts as dead after {away} ms")));
            }
        }
        Ok(())
    }

    /// Remembers when agents were last seen to leave an edge, whatever other edges are believed to have of them.
    pub fn note_leaving(&mut self, stored: &Stored<Rc<Payload>>, before: &AgentState) {
        let Some(state) = stored.payload.event.body.agent_state() else { return };
        for (edge, _) in before.presence.iter().filter(|(_, presence)| presence.connections > 0) {
            let now = state.presence.get(edge).filter(|now| now.connections == 0);
            if let Some(left) = now.and_then(|now| self.left_at(*edge, state.agent_id, now.rev)) {
                let since = self.away_since_mut().entry(state.agent_id).or_insert(left);
                *since = left.max(*since);
            }
        }
    }
}
