//! What a floor waits for: questions to the router and to other edges, each a future that ends in a [`Done`].

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use bus_schema::{
    ErrorBody, ErrorCode, GroupId, IncarnationId, Shard, TenantId,
    command::{Actor, Answer, Command},
    limits::PAGE_MAX,
    protocol::{AgentView, ConversationView, GroupStatus, VisitorPresence},
    signal::Who,
};
use ops::{chat, nats::Bus};

use super::{
    groups,
    view::{FOLLOWED_MAX, Which},
};

const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long other edges have to say who is there.
const GATHER_WAIT: Duration = Duration::from_millis(300);
/// Edges that are heard out.
const EDGES_MAX: usize = 200;

/// Something ended.
pub enum Done {
    Agents(Result<Vec<AgentView>, ErrorBody>),
    Groups(Result<BTreeMap<GroupId, GroupStatus>, ErrorBody>),
    Gathered(Vec<(IncarnationId, Vec<VisitorPresence>)>),
    Listed { conn: u64, which: Which, result: Result<Listed, ErrorBody> },
}

/// A view as the router has it.
pub struct Listed {
    pub conversations: Vec<ConversationView>,
    /// There are no more than these.
    pub whole: bool,
}

/// Whose router and edges.
#[derive(Debug, Clone)]
pub struct Asking {
    pub bus: Bus,
    pub shard: Shard,
    pub tenant: TenantId,
}

impl Asking {
    pub async fn agents(self) -> Done {
        let request = chat::command(Actor::SYSTEM, Command::ListAgents);
        let answer = chat::ask(&self.bus, self.shard, self.tenant, &request, ANSWER_WAIT).await;
        Done::Agents(answer.and_then(|answer| match answer {
            Answer::Agents { agents } => Ok(agents),
            _ => Err(ErrorCode::Internal.into()),
        }))
    }

    pub async fn groups(self) -> Done {
        Done::Groups(groups::ask(&self.bus, self.shard, self.tenant, ANSWER_WAIT).await)
    }

    /// The first pages of a view, as the agent sees it.
    pub async fn view(self, conn: u64, actor: Actor, which: Which) -> Done {
        let result = self.pages(actor, which).await;
        Done::Listed { conn, which, result }
    }

    async fn pages(&self, actor: Actor, which: Which) -> Result<Listed, ErrorBody> {
        let Which { view, group_id } = which;
        let (mut conversations, mut cursor) = (Vec::new(), None);
        let limit = u32::try_from(PAGE_MAX).unwrap_or(u32::MAX);
        loop {
            let command = Command::ListConversations { view, group_id, limit, cursor };
            let request = chat::command(actor, command);
            match chat::ask(&self.bus, self.shard, self.tenant, &request, ANSWER_WAIT).await? {
                Answer::Conversations { conversations: page, next_cursor, .. } => {
                    conversations.extend(page);
                    cursor = next_cursor;
                }
                _ => return Err(ErrorCode::Internal.into()),
            }
            if cursor.is_none() || conversations.len() >= FOLLOWED_MAX {
                conversations.truncate(FOLLOWED_MAX);
                return Ok(Listed { conversations, whole: cursor.is_none() });
            }
        }
    }

    /// Asks all edges who is there; who does not answer in time is asked again later.
    pub async fn who(self) -> Done {
        let mut heard = Vec::new();
        let everyone = Who::default();
        chat::who(&self.bus.client, (self.shard, self.tenant), &everyone, GATHER_WAIT, |edge, visitors| {
            heard.push((edge, visitors));
            if heard.len() < EDGES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await;
        Done::Gathered(heard)
    }
}
