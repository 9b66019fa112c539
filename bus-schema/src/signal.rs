//! Signals: what is told and never stored.

use serde::{Deserialize, Serialize};

use crate::{
    Author, ConversationId, GroupId, IncarnationId,
    protocol::{AgentView, ConversationView, GroupStatus, Person, VisitorPresence},
};

/// Sent on [`crate::subject::ConversationSubjects::signals`]. Readers ignore kinds that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signal {
    Typing {
        conversation_id: ConversationId,
        author: Author,
        on: bool,
    },
    Preview {
        conversation_id: ConversationId,
        author: Author,
        text: String,
    },
    /// A router needs the conversation quiet for its batch: edges hold its writes for this long.
    Hold {
        conversation_id: ConversationId,
        for_ms: u64,
    },
    QueuePosition {
        conversation_id: ConversationId,
        position: u32,
        wait_s: Option<u64>,
    },
    /// Somebody's name or picture changed.
    Person {
        conversation_id: ConversationId,
        person: Person,
    },
    #[serde(other)]
    Unknown,
}

/// Sent on [`crate::subject::tenant_signals`], for the tenant's staff connections, and `Group` for visitors' as well.
/// Readers ignore kinds that they do not know.
///
/// Each says how something is now, so a lost one is mended by the next; what must not be missed is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TenantSignal {
    /// A thread as a stored change of its life or desk left it.
    Thread {
        conversation: ConversationView,
        /// Of the newest `life` or `desk` message behind it: an older one never replaces a newer one.
        seq: u64,
        /// It was closed, if not.
        open: bool,
    },
    /// Agents whose status, load or capacity changed.
    Agents {
        agents: Vec<AgentView>,
    },
    Group {
        group_id: GroupId,
        status: GroupStatus,
    },
    /// Visitors who came to an edge, left it or turned a page; also an edge's answer to `who`.
    Visitors {
        edge: IncarnationId,
        visitors: Vec<VisitorPresence>,
    },
    #[serde(other)]
    Unknown,
}

/// A request on [`crate::subject::TenantTopic::Who`]; an empty payload asks for everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Only these conversations' visitors. Empty: everyone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<ConversationId>,
    /// Each edge answers, also with nobody: whoever asks knows by that when all have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each_answers: bool,
}

impl Who {
    /// Whether silence is no answer.
    pub fn awaits_each(&self) -> bool {
        self.each_answers || !self.conversations.is_empty()
    }
}

/// How long a router may hold a conversation's writes.
pub const HOLD_MS: u64 = 200;
/// How long a typing or preview signal is shown unless repeated.
pub const EXPIRES_MS: u64 = 6_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AgentId;

    #[test]
    fn signals_of_a_newer_neighbour_are_read_as_unknown() {
        let newer = r#"{"kind":"weather","sky":"blue"}"#;
        assert_eq!(serde_json::from_str::<Signal>(newer).unwrap(), Signal::Unknown);
        assert_eq!(serde_json::from_str::<TenantSignal>(newer).unwrap(), TenantSignal::Unknown);
    }

    #[test]
    fn signals_of_a_tenant_round_trip() {
        let agents = vec![AgentView {
            id: AgentId::NIL,
            status: crate::state::AgentStatus::Accepting,
            load: 1,
            capacity: 2,
        }];
        let visitors = vec![VisitorPresence {
            id: crate::VisitorId::NIL,
            conversation_id: ConversationId::NIL,
            online: true,
            page: None,
            group_id: None,
        }];
        for signal in [
            TenantSignal::Agents { agents },
            TenantSignal::Group { group_id: GroupId::NIL, status: GroupStatus::Queue },
            TenantSignal::Visitors { edge: IncarnationId::NIL, visitors },
        ] {
            let json = serde_json::to_string(&signal).unwrap();
            assert_eq!(serde_json::from_str::<TenantSignal>(&json).unwrap(), signal, "{json}");
        }
    }
}
