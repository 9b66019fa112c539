//! Whole states that events of the log carry: the last message of a subject *is* the state.
//!
//! What writes a whole state keeps the fields that it does not know (`extra`), because a newer neighbour may have
//! put them there. Life and desk states never hold names or text.

mod agent;
mod desk;
mod life;
mod visitor;

pub use agent::{AgentState, AgentStatus, Held, Presence, RoutingStatus};
pub use desk::{
    Avoid, Candidate, CommandRecord, Deadline, DeadlineKind, Decision, DecisionRule, DeskState, Offer,
    Priority, QueueEntry, QueueReason, Refusal, Strategy,
};
pub use life::{CloseReason, LifeState, StartSource, ThreadStatus};
pub use visitor::{Ban, Page, VisitorRecord};

/// Fields of a newer neighbour, kept as they are.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// How many commands with their outcomes a state remembers.
pub const COMMANDS_KEPT: usize = 8;
