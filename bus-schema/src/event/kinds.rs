//! The table of event kinds: name, lane, data type. Everything else about kinds follows from it.

use serde_json::value::RawValue;

use super::{VERSION, Visibility, data::*};
use crate::{Lane, object::Object};

/// Where a kind lives in a conversation or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// What participants say: `all.msg`, or `staff.note` when only agents may see it.
    Said,
    Lane(Lane),
    /// The visitor's subject.
    Visitor,
    /// The agent's subject.
    Agent,
}

macro_rules! kinds {
    ($($variant:ident $name:literal $data:ident $home:expr;)*) => {
        /// What happened. One variant a kind; see the table in contract §2.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body {
            $($variant($data),)*
            /// Of a newer neighbour: kept as it is.
            Unknown { kind: String, v: u8, data: serde_json::Value },
        }

        /// The kinds that this build knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($variant,)* }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            pub const fn home(self) -> Home {
                match self { $(Kind::$variant => $home,)* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Kind::$variant),)* _ => None }
            }
        }

        #[cfg(feature = "openapi")]
        impl Kind {
            /// The schema of its data.
            pub(crate) fn data(self) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                match self { $(Kind::$variant => <$data as utoipa::PartialSchema>::schema(),)* }
            }

            /// What that refers to.
            pub(crate) fn schemas(self, named: &mut crate::openapi::Named) {
                match self { $(Kind::$variant => <$data as utoipa::ToSchema>::schemas(named),)* }
            }
        }

        impl Body {
            /// The kind, unless a newer neighbour's.
            pub const fn kind(&self) -> Option<Kind> {
                match self { $(Body::$variant(_) => Some(Kind::$variant),)* Body::Unknown { .. } => None }
            }

            pub fn name(&self) -> &str {
                match self { $(Body::$variant(_) => $name,)* Body::Unknown { kind, .. } => kind }
            }

            pub(super) fn encode(&self) -> (&str, u8, Box<RawValue>) {
                let raw = match self {
                    $(Body::$variant(data) => serde_json::value::to_raw_value(data),)*
                    Body::Unknown { data, .. } => serde_json::value::to_raw_value(data),
                };
                let v = match self { Body::Unknown { v, .. } => *v, _ => VERSION };
                (self.name(), v, raw.expect("event data holds only strings, numbers and string-keyed maps"))
            }

            pub(super) fn decode(kind: &str, v: u8, data: &RawValue) -> Result<Self, (&'static str, serde_json::Error)> {
                match (kind, v) {
                    $(($name, VERSION) => serde_json::from_str(data.get()).map(Body::$variant).map_err(|e| ($name, e)),)*
                    _ => Ok(Body::Unknown {
                        kind: kind.to_owned(),
                        v,
                        data: serde_json::from_str(data.get()).map_err(|e| ("unknown", e))?,
                    }),
                }
            }

            /// Decodes the data of a kind that a client names, where unknown kinds are the client's mistake.
            pub fn from_client(kind: Kind, data: &RawValue) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$variant => serde_json::from_str(data.get()).map(|Object(data)| Body::$variant(data)),)*
                }
            }
        }
    };
}

kinds! {
    Message "message" Message Home::Said;
    RichMessage "rich_message" RichMessage Home::Said;
    File "file" File Home::Said;
    Form "form" Form Home::Said;
    FormFilled "form_filled" FormFilled Home::Said;
    MessageEdited "message_edited" MessageEdited Home::Said;
    MessageDeleted "message_deleted" MessageDeleted Home::Said;
    Rated "rated" Rated Home::Lane(Lane::Msg);
    TranscriptRequested "transcript_requested" TranscriptRequested Home::Lane(Lane::Msg);
    Tagged "tagged" Tagged Home::Lane(Lane::Note);
    Untagged "untagged" Untagged Home::Lane(Lane::Note);
    Started "started" Started Home::Lane(Lane::Life);
    Queued "queued" Queued Home::Lane(Lane::Life);
    Assigned "assigned" Assigned Home::Lane(Lane::Life);
    Transferred "transferred" Transferred Home::Lane(Lane::Life);
    Joined "joined" Joined Home::Lane(Lane::Life);
    Left "left" Left Home::Lane(Lane::Life);
    AgentLost "agent_lost" AgentLost Home::Lane(Lane::Life);
    Idle "idle" Idle Home::Lane(Lane::Life);
    Closed "closed" Closed Home::Lane(Lane::Life);
    Reopened "reopened" Reopened Home::Lane(Lane::Life);
    Decided "decided" Decided Home::Lane(Lane::Desk);
    Offered "offered" Offered Home::Lane(Lane::Desk);
    Declined "declined" Declined Home::Lane(Lane::Desk);
    Unanswered "unanswered" Unanswered Home::Lane(Lane::Desk);
    PrioritySet "priority_set" PrioritySet Home::Lane(Lane::Desk);
    SkillsSet "skills_set" SkillsSet Home::Lane(Lane::Desk);
    SkillsWaived "skills_waived" SkillsWaived Home::Lane(Lane::Desk);
    Delivered "delivered" Delivered Home::Lane(Lane::Mark);
    Read "read" Read Home::Lane(Lane::Mark);
    VisitorSeen "visitor_seen" VisitorSeen Home::Visitor;
    VisitorUpdated "visitor_updated" VisitorUpdated Home::Visitor;
    VisitorBanned "visitor_banned" VisitorBanned Home::Visitor;
    VisitorUnbanned "visitor_unbanned" VisitorUnbanned Home::Visitor;
    VisitorErased "visitor_erased" VisitorErased Home::Visitor;
    AgentConnected "connected" AgentConnected Home::Agent;
    AgentDisconnected "disconnected" AgentDisconnected Home::Agent;
    AgentStatusSet "status_set" AgentStatusSet Home::Agent;
    AgentCapacitySet "capacity_set" AgentCapacitySet Home::Agent;
    AgentLoad "load" AgentLoad Home::Agent;
}

impl Kind {
    /// The lane that an event of this kind and visibility belongs to; none for visitors' and agents' subjects.
    pub const fn lane(self, visibility: Visibility) -> Option<Lane> {
        match (self.home(), visibility) {
            (Home::Said, Visibility::All) => Some(Lane::Msg),
            (Home::Said, Visibility::Agents) => Some(Lane::Note),
            (Home::Lane(lane), _) => Some(lane),
            (Home::Visitor | Home::Agent, _) => None,
        }
    }

    /// Content that must never follow the close of its thread (`closed-is-closed`).
    pub const fn ends_with_thread(self) -> bool {
        matches!(self, Kind::Message | Kind::RichMessage | Kind::File | Kind::Form | Kind::FormFilled)
    }

    /// Counts as unread for others until they read it.
    pub const fn counts_as_unread(self) -> bool {
        matches!(self, Kind::Message | Kind::RichMessage | Kind::File | Kind::Form)
    }
}
