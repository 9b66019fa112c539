//! The routing state of a thread, for staff: where it waits, why, and what was decided.

use serde::{Deserialize, Serialize};

use super::Extra;
use crate::{AgentId, CommandId, GroupId, ThreadId, Timestamp, command::Outcome};

/// Carried by every message of `staff.desk`: the thread's whole routing state after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeskState {
    pub thread_id: ThreadId,
    /// Present while the thread waits.
    pub queue: Option<QueueEntry>,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default)]
    pub skills: Vec<String>,
    #[serde(default)]
    pub skills_waived: bool,
    #[serde(default)]
    pub offers: Vec<Offer>,
    /// Whom rules pass over for this thread, for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<Avoid>,
    /// Timers as data: instants after which something is due.
    #[serde(default)]
    pub deadlines: Vec<Deadline>,
    /// How often an agent did not answer in time.
    #[serde(default)]
    pub misses: u32,
    /// The visitor's last agent, for sticky routing.
    #[serde(default)]
    pub last_agent_id: Option<AgentId>,
    /// When that agent was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_assigned_at: Option<Timestamp>,
    /// Nobody has said anything since then, and everyone was told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,
    /// The last commands about this thread with their outcomes, oldest first.
    #[serde(default)]
    pub commands: Vec<CommandRecord>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Extra,
}

/// A thread's place in a queue: order is priority, then `since`, then sequence of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueEntry {
    pub group_id: Option<GroupId>,
    /// The instant from which it waits; kept when it returns to the head of a queue.
    pub since: Timestamp,
    /// Sequence of the thread's start: decides between equal instants.
    pub since_seq: u64,
    pub reason: QueueReason,
}

/// Why a thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QueueReason {
    /// Nobody in the group accepts chats.
    NoAgentAccepting,
    /// All who accept are full.
    AllBusy,
    /// Agents take for themselves.
    Manual,
    /// Its agent was lost.
    AgentLost,
    /// It was transferred to the group.
    Transferred,
    /// Nobody has the skills it wants.
    NoSkilledAgent,
    /// It is offered to several agents.
    Offered,
    /// The group has not opened yet.
    OutsideHours,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    pub agent_id: AgentId,
    pub expires_at: Timestamp,
}

/// An agent who passed the thread on. Not for ever: who waits is better served by them than by nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Avoid {
    pub agent_id: AgentId,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deadline {
    pub kind: DeadlineKind,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeadlineKind {
    Answer,
    Idle,
    IdleClose,
    VisitorGone,
    Queue,
    Offer,
    SkillsWaive,
    #[serde(other)]
    Unknown,
}

/// A command that was carried out, and what it was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandRecord {
    pub command_id: CommandId,
    pub outcome: Outcome,
}

/// How a group picks an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    RoundRobin,
    #[default]
    LeastLoaded,
    Sticky,
    Manual,
    Broadcast,
}

impl Strategy {
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round_robin",
            Strategy::LeastLoaded => "least_loaded",
            Strategy::Sticky => "sticky",
            Strategy::Manual => "manual",
            Strategy::Broadcast => "broadcast",
        }
    }
}

/// Why a thread went where it went, or waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// Absent where a person decided.
    pub strategy: Option<Strategy>,
    /// Newest revision of the tenant's configuration that the router knew.
    pub config_revision: u64,
    /// At most [`Decision::CANDIDATES_MAX`], those nearest to being chosen first.
    pub candidates: Vec<Candidate>,
    pub chosen: Option<AgentId>,
    pub rule: DecisionRule,
    pub waiting_since: Option<Timestamp>,
    /// Microseconds between the input that caused the decision and the decision, by the loop's clock.
    pub took_us: u64,
}

impl Decision {
    /// Candidates kept in the log, so that a decision in a large group stays small.
    pub const CANDIDATES_MAX: usize = 50;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    pub agent_id: AgentId,
    pub load: u32,
    pub capacity: u32,
    pub priority: crate::config::MemberPriority,
    pub last_assigned_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// Why a candidate was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Offline,
    NotAccepting,
    AtCapacity,
    SupervisorMember,
    LacksSkill,
    /// Written by nobody: who declines an offer has passed it on.
    Declined,
    /// Had it or was offered it, and passed it on.
    PassedOn,
    Deleted,
    #[serde(other)]
    Unknown,
}

/// The rule that settled a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DecisionRule {
    /// Smallest share of capacity used.
    LeastLoaded,
    /// Longest without an assignment.
    RoundRobin,
    Sticky,
    Taken,
    AssignedBySupervisor,
    Transferred,
    OfferAccepted,
    /// Nobody may take it now: it waits.
    NobodyFree,
    AgentLost,
    /// An agent came to take part, or went; the assignee stays.
    Joined,
    Left,
    /// It was due.
    TimedOut,
    /// The visitor has no connection any more, or again.
    VisitorLeft,
    VisitorBack,
    #[serde(other)]
    Unknown,
}
