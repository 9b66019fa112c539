//! Subjects of the log, of live copies, signals and requests: built and parsed here and nowhere else.
//!
//! A subject is made of fixed words and ids alone, never of text that a person wrote, so no input can reach another
//! tenant's subjects or smuggle in a wildcard. Walls are made of subjects: what a visitor may see lies under
//! `….all.>`, and a visitor's connection never names anything else.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ConversationId, IncarnationId, TenantId, VisitorId};

/// A part of an installation's tenants, with a log of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who may read a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everyone in the conversation, visitors included.
    All,
    /// Staff alone: all lanes.
    Staff,
}

impl Audience {
    /// The lanes this audience reads.
    pub const fn lanes(self) -> &'static [Lane] {
        match self {
            Audience::All => &[Lane::Life, Lane::Msg, Lane::Mark],
            Audience::Staff => &[Lane::Life, Lane::Msg, Lane::Mark, Lane::Desk, Lane::Note],
        }
    }
}

/// One ordered subject of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Life,
    Msg,
    Mark,
    Desk,
    Note,
}

impl Lane {
    pub const ALL: [Lane; 5] = [Lane::Life, Lane::Msg, Lane::Mark, Lane::Desk, Lane::Note];

    /// The two tokens at the end of the subject.
    pub const fn tokens(self) -> &'static str {
        match self {
            Lane::Life => "all.life",
            Lane::Msg => "all.msg",
            Lane::Mark => "all.mark",
            Lane::Desk => "staff.desk",
            Lane::Note => "staff.note",
        }
    }

    pub const fn audience(self) -> Audience {
        match self {
            Lane::Life | Lane::Msg | Lane::Mark => Audience::All,
            Lane::Desk | Lane::Note => Audience::Staff,
        }
    }

    /// Position in arrays that hold something per lane.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A subject of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Conversation { shard: Shard, tenant: TenantId, conversation: ConversationId, lane: Lane },
    Agent { shard: Shard, tenant: TenantId, agent: AgentId },
    Visitor { shard: Shard, tenant: TenantId, visitor: VisitorId },
}

/// A text that is no subject of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a subject of the log")]
pub struct BadSubject;

impl Subject {
    pub const fn shard(self) -> Shard {
        match self {
            Subject::Conversation { shard, .. }
            | Subject::Agent { shard, .. }
            | Subject::Visitor { shard, .. } => shard,
        }
    }

    pub const fn tenant(self) -> TenantId {
        match self {
            Subject::Conversation { tenant, .. }
            | Subject::Agent { tenant, .. }
            | Subject::Visitor { tenant, .. } => tenant,
        }
    }

    /// The conversation and lane, where it is one.
    pub const fn conversation(self) -> Option<(ConversationId, Lane)> {
        match self {
            Subject::Conversation { conversation, lane, .. } => Some((conversation, lane)),
            Subject::Agent { .. } | Subject::Visitor { .. } => None,
        }
    }

    /// Where the server republishes this subject after it stored a message.
    pub fn live(self) -> String {
        format!("live{}", &self.to_string()[4..])
    }

    /// Parses `chat.v1.…` and `live.v1.…` alike.
    pub fn parse(text: &str) -> Result<Self, BadSubject> {
        let rest =
            text.strip_prefix("chat.v1.").or_else(|| text.strip_prefix("live.v1.")).ok_or(BadSubject)?;
        let mut tokens = rest.split('.');
        let mut next = || tokens.next().ok_or(BadSubject);
        let shard_text = next()?;
        let shard = Shard(shard_text.parse().map_err(|_| BadSubject)?);
        if shard.to_string() != shard_text {
            return Err(BadSubject);
        }
        let tenant = next()?.parse().map_err(|_| BadSubject)?;
        let subject = match next()? {
            "conversation" => {
                let conversation = next()?.parse().map_err(|_| BadSubject)?;
                let (audience, lane) = (next()?, next()?);
                let lane = Lane::ALL
                    .into_iter()
                    .find(|l| l.tokens().split_once('.') == Some((audience, lane)))
                    .ok_or(BadSubject)?;
                Subject::Conversation { shard, tenant, conversation, lane }
            }
            "agent" => Subject::Agent { shard, tenant, agent: next()?.parse().map_err(|_| BadSubject)? },
            "visitor" => {
                Subject::Visitor { shard, tenant, visitor: next()?.parse().map_err(|_| BadSubject)? }
            }
            _ => return Err(BadSubject),
        };
        if tokens.next().is_some() {
            return Err(BadSubject);
        }
        Ok(subject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Conversation { shard, tenant, conversation, lane } => {
                write!(f, "chat.v1.{shard}.{tenant}.conversation.{conversation}.{}", lane.tokens())
            }
            Subject::Agent { shard, tenant, agent } => write!(f, "chat.v1.{shard}.{tenant}.agent.{agent}"),
            Subject::Visitor { shard, tenant, visitor } => {
                write!(f, "chat.v1.{shard}.{tenant}.visitor.{visitor}")
            }
        }
    }
}

impl FromStr for Subject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        Self::parse(text)
    }
}

/// The home of one conversation: its subjects and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationSubjects {
    pub shard: Shard,
    pub tenant: TenantId,
    pub conversation: ConversationId,
}

impl ConversationSubjects {
    pub const fn lane(self, lane: Lane) -> Subject {
        Subject::Conversation {
            shard: self.shard,
            tenant: self.tenant,
            conversation: self.conversation,
            lane,
        }
    }

    /// Everything `audience` may read in the log.
    pub fn stored(self, audience: Audience) -> String {
        self.filter("chat", audience)
    }

    /// Everything `audience` may hear live: one subscription, so that lanes keep their order.
    pub fn live(self, audience: Audience) -> String {
        self.filter("live", audience)
    }

    /// Where signals of this conversation travel.
    pub fn signals(self) -> String {
        let Self { shard, tenant, conversation } = self;
        format!("signal.v1.{shard}.{tenant}.conversation.{conversation}")
    }

    fn filter(self, root: &str, audience: Audience) -> String {
        let Self { shard, tenant, conversation } = self;
        let tail = match audience {
            Audience::All => "all.*",
            Audience::Staff => ">",
        };
        format!("{root}.v1.{shard}.{tenant}.conversation.{conversation}.{tail}")
    }
}

/// Everything a shard stores.
pub fn stored_in_shard(shard: Shard) -> String {
    format!("chat.v1.{shard}.>")
}

/// Where a shard's messages are republished.
pub fn live_of_shard(shard: Shard) -> String {
    format!("live.v1.{shard}.>")
}

/// Where the records of all visitors of a shard are republished.
pub fn live_visitors(shard: Shard) -> String {
    format!("live.v1.{shard}.*.visitor.*")
}

/// The subjects whose last message is state: what a router starts from.
pub fn state_filters(shard: Shard) -> [String; 4] {
    [
        format!("chat.v1.{shard}.*.conversation.*.all.life"),
        format!("chat.v1.{shard}.*.conversation.*.staff.desk"),
        format!("chat.v1.{shard}.*.agent.*"),
        format!("chat.v1.{shard}.*.visitor.*"),
    ]
}

/// Requests to the router of a tenant's shard; the reply is an [`crate::command::Outcome`].
pub fn commands(shard: Shard, tenant: TenantId) -> String {
    format!("command.v1.{shard}.{tenant}")
}

/// All requests to the routers of a shard.
pub fn commands_of_shard(shard: Shard) -> String {
    format!("command.v1.{shard}.*")
}

/// Whose a request to a router is.
pub fn tenant_of_command(subject: &str) -> Option<TenantId> {
    tenant_after(subject, "command.v1.")
}

/// `<prefix><shard>.<tenant>…`: the tenant.
fn tenant_after(subject: &str, prefix: &str) -> Option<TenantId> {
    subject.strip_prefix(prefix)?.split('.').nth(1)?.parse().ok()
}

/// The queue group in which routers of one shard share its requests.
pub const ROUTER_QUEUE_GROUP: &str = "router";

/// What is told within a tenant and never stored; each has a subject, so that an edge hears what it needs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantTopic {
    /// Open threads that changed, and those that closed.
    Threads,
    Agents,
    Groups,
    Visitors,
    /// A request that each edge answers with its own visitors; with none at all only where it names conversations.
    Who,
}

impl TenantTopic {
    pub const ALL: [TenantTopic; 5] = [
        TenantTopic::Threads,
        TenantTopic::Agents,
        TenantTopic::Groups,
        TenantTopic::Visitors,
        TenantTopic::Who,
    ];

    /// The last token of the subject.
    pub const fn token(self) -> &'static str {
        match self {
            TenantTopic::Threads => "threads",
            TenantTopic::Agents => "agents",
            TenantTopic::Groups => "groups",
            TenantTopic::Visitors => "visitors",
            TenantTopic::Who => "who",
        }
    }
}

/// Where a [`crate::signal::TenantSignal`] travels.
pub fn tenant_signals(shard: Shard, tenant: TenantId, topic: TenantTopic) -> String {
    format!("signal.v1.{shard}.{tenant}.{}", topic.token())
}

/// Whose such a signal is.
pub fn tenant_of_signal(subject: &str) -> Option<TenantId> {
    tenant_after(subject, "signal.v1.")
}

/// What edges say of the visitors of all tenants of a shard.
pub fn visitors_of_shard(shard: Shard) -> String {
    format!("signal.v1.{shard}.*.{}", TenantTopic::Visitors.token())
}

/// Questions to all edges about the visitors of a shard.
pub fn who_of_shard(shard: Shard) -> String {
    format!("signal.v1.{shard}.*.{}", TenantTopic::Who.token())
}

/// What an edge sends to itself, to learn whether what is published comes back: the way that live copies take.
pub fn edge_echo(shard: Shard, incarnation: IncarnationId) -> String {
    format!("signal.v1.{shard}.edge.{incarnation}")
}

/// Requests for older events, answered by admin-api.
pub fn history(shard: Shard, tenant: TenantId) -> String {
    format!("history.v1.{shard}.{tenant}")
}

/// All requests for history of a shard.
pub fn history_of_shard(shard: Shard) -> String {
    format!("history.v1.{shard}.*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn any_subject() -> impl Strategy<Value = Subject> {
        let ids = (any::<u16>(), any::<u128>(), any::<u128>(), 0_usize..7);
        ids.prop_map(|(shard, tenant, id, kind)| {
            let (shard, tenant) = (Shard(shard), TenantId::from_uuid(Uuid::from_u128(tenant)));
            let id = Uuid::from_u128(id);
            match kind {
                5 => Subject::Agent { shard, tenant, agent: AgentId::from_uuid(id) },
                6 => Subject::Visitor { shard, tenant, visitor: VisitorId::from_uuid(id) },
                lane => {
                    let conversation = ConversationId::from_uuid(id);
                    Subject::Conversation { shard, tenant, conversation, lane: Lane::ALL[lane] }
                }
            }
        })
    }

    proptest! {
        #[test]
        fn subjects_round_trip(subject in any_subject()) {
            prop_assert_eq!(Subject::parse(&subject.to_string()), Ok(subject));
            prop_assert_eq!(Subject::parse(&subject.live()), Ok(subject));
        }

        #[test]
        fn what_parses_prints_the_same(text in "(chat|live)\\.v1\\.[0-9.*>a-z-]{0,120}") {
            if let Ok(subject) = Subject::parse(&text) {
                prop_assert!(subject.to_string() == text || subject.live() == text);
            }
        }
    }

    #[test]
    fn what_is_told_within_a_tenant_names_it() {
        let (shard, tenant) = (Shard(3), TenantId::from_uuid(Uuid::from_u128(7)));
        assert_eq!(tenant_of_command(&commands(shard, tenant)), Some(tenant));
        for topic in [TenantTopic::Threads, TenantTopic::Visitors, TenantTopic::Who] {
            assert_eq!(tenant_of_signal(&tenant_signals(shard, tenant, topic)), Some(tenant));
        }
        assert_eq!(tenant_of_signal(&commands(shard, tenant)), None);
        assert_eq!(tenant_of_command(&commands_of_shard(shard)), None);
    }

    #[test]
    fn wildcards_and_strangers_are_refused() {
        let nil = Uuid::nil();
        for bad in [
            format!("chat.v1.0.*.agent.{nil}"),
            format!("chat.v1.0.{nil}.agent.>"),
            format!("chat.v1.00.{nil}.agent.{nil}"),
            format!("chat.v1.0.{nil}.agent.{nil}.x"),
            format!("chat.v1.0.{nil}.conversation.{nil}.all.desk"),
            format!("chat.v2.0.{nil}.agent.{nil}"),
            String::new(),
        ] {
            assert_eq!(Subject::parse(&bad), Err(BadSubject), "{bad}");
        }
    }

    #[test]
    fn a_visitors_filter_holds_no_staff_lane() {
        let home = ConversationSubjects {
            shard: Shard(0),
            tenant: TenantId::NIL,
            conversation: ConversationId::NIL,
        };
        assert!(home.stored(Audience::All).ends_with(".all.*"));
        assert!(home.live(Audience::Staff).ends_with(".>"));
        for lane in Audience::All.lanes() {
            assert_eq!(lane.audience(), Audience::All);
        }
    }
}
