//! Lists of open threads and agents, from memory, as they are stored. Agents see their groups and what is theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bus_schema::{
    AgentId, ConversationId, ErrorBody, ErrorCode, GroupId, Timestamp,
    command::{Actor, Answer, Outcome, View},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{ConversationView, QueueView, ThreadView},
    state::{Priority, ThreadStatus},
};

use super::{
    super::{agent::Agent, conversation::Conversation, queue::ListKey, slot::QueueId, tenant::Tenant},
    refused, thread,
};

pub struct Page<'a> {
    pub view: View,
    pub group: Option<GroupId>,
    pub limit: u32,
    pub cursor: Option<&'a str>,
}

pub fn conversations(tenant: &Tenant, actor: &Actor, page: &Page<'_>, at: Timestamp) -> Outcome {
    let caller = thread::as_agent(actor);
    if caller.is_none() && !thread::is_supervisor(actor) {
        return refused(ErrorCode::Forbidden, "lists are for staff");
    }
    let after = match page.cursor.map(parse).transpose() {
        Ok(after) => after,
        Err(error) => return error.into(),
    };
    if let Some(group) = page.group {
        if tenant.config.group(group).is_none() {
            return refused(ErrorCode::NotFound, "no such group");
        }
        if !sees(tenant, actor, Some(group)) {
            return refused(ErrorCode::Forbidden, "the agent is not a member of the group");
        }
    }
    let limit = match page.limit as usize {
        0 => PAGE_DEFAULT,
        limit => limit.min(PAGE_MAX),
    };
    let own = caller.map(|agent| held_by(tenant, agent)).unwrap_or_default();
    let sources = sources(tenant, actor, page, &own);
    let total = sources.iter().map(|source| source.len() as u64).sum();
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut keys: Vec<ListKey> = sources
        .iter()
        .flat_map(|source| source.range((from, Bound::Unbounded)).take(limit + 1).copied())
        .collect();
    keys.sort_unstable();
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next_cursor = keys.last().filter(|_| more).map(|key| print(*key));
    Outcome::Accepted {
        answer: Answer::Conversations { conversations: views(tenant, &keys), next_cursor, total, at },
    }
}

pub fn conversation(tenant: &Tenant, id: ConversationId, at: Timestamp) -> Outcome {
    let key = ListKey { started_at: Timestamp::default(), conversation: id };
    let conversations = views(tenant, &[key]);
    let total = conversations.len() as u64;
    Outcome::Accepted { answer: Answer::Conversations { conversations, next_cursor: None, total, at } }
}

pub fn agents(tenant: &Tenant) -> Outcome {
    let agents = tenant.agents.values().filter_map(Agent::view).collect();
    Outcome::Accepted { answer: Answer::Agents { agents } }
}

pub fn sees(tenant: &Tenant, actor: &Actor, group: Option<GroupId>) -> bool {
    let member = |agent| tenant.config.is_member(agent, tenant.config.queue_of(group));
    thread::is_supervisor(actor) || thread::as_agent(actor).is_some_and(member)
}

/// Disjoint sets that together are the view.
fn sources<'a>(
    tenant: &'a Tenant,
    actor: &Actor,
    page: &Page<'_>,
    own: &'a Own,
) -> Vec<&'a BTreeSet<ListKey>> {
    let wanted = |group: Option<GroupId>| {
        page.group.is_none_or(|named| Some(named) == group) && sees(tenant, actor, group)
    };
    let of_groups = || tenant.open.iter().filter(|(group, _)| wanted(**group)).map(|(_, keys)| keys);
    match page.view {
        View::Mine => own.values().collect(),
        View::Queue => {
            let queues = tenant.queues.iter().filter(|(queue, _)| wanted(**queue));
            queues.map(|(_, queue)| &queue.by_start).collect()
        }
        View::Group => of_groups().collect(),
        View::All => {
            let elsewhere = own.iter().filter(|(group, _)| page.group.is_none() && !wanted(**group));
            of_groups().chain(elsewhere.map(|(_, keys)| keys)).collect()
        }
    }
}

/// What an agent holds, by group.
type Own = BTreeMap<Option<GroupId>, BTreeSet<ListKey>>;

fn held_by(tenant: &Tenant, agent: AgentId) -> Own {
    let mut own = Own::new();
    let state = tenant.agents.get(&agent).and_then(Agent::stored);
    for held in state.into_iter().flat_map(|state| &state.conversations) {
        let conversation = tenant.conversations.get(&held.conversation_id);
        if let Some((group, key)) = conversation.and_then(|conversation| conversation.indexed.open) {
            own.entry(group).or_default().insert(key);
        }
    }
    own
}

fn views(tenant: &Tenant, keys: &[ListKey]) -> Vec<ConversationView> {
    let mut positions: BTreeMap<QueueId, BTreeMap<ConversationId, u32>> = BTreeMap::new();
    let mut one = |key: &ListKey| {
        let conversation = tenant.conversations.get(&key.conversation)?;
        let queue = conversation.indexed.waits.and_then(|waits| {
            let ranks = positions.entry(waits.queue).or_insert_with(|| ranks(tenant, waits.queue));
            let position = ranks.get(&key.conversation).copied()?;
            Some(QueueView { position, wait_s: tenant.wait_s(waits.queue, position) })
        });
        view(key.conversation, conversation, queue)
    };
    keys.iter().filter_map(&mut one).collect()
}

/// The open thread as it is stored.
pub fn view(
    id: ConversationId,
    conversation: &Conversation,
    queue: Option<QueueView>,
) -> Option<ConversationView> {
    let life = conversation.stored_life()?;
    let offers = conversation.stored_desk().into_iter().flat_map(|desk| &desk.offers);
    Some(ConversationView {
        id,
        visitor_id: life.visitor_id,
        thread: ThreadView {
            id: life.thread_id,
            status: life.status,
            group_id: life.group_id,
            assignee_id: life.assignee_id,
            started_at: life.started_at,
            queue: queue.filter(|_| life.status == ThreadStatus::Queued),
            tags: None,
        },
        priority: conversation.stored_desk().map_or_else(Priority::default, |desk| desk.priority),
        participants: life.participants.clone(),
        offered_to: offers.map(|offer| offer.agent_id).collect(),
    })
}

fn ranks(tenant: &Tenant, queue: QueueId) -> BTreeMap<ConversationId, u32> {
    let waiting = tenant.queues.get(&queue).into_iter().flat_map(|queue| &queue.waiting);
    waiting.zip(1..).map(|(key, position)| (key.conversation, position)).collect()
}

fn print(key: ListKey) -> String {
    format!("{}.{}", key.started_at.millis(), key.conversation)
}

fn parse(cursor: &str) -> Result<ListKey, ErrorBody> {
    let parts = cursor.split_once('.').and_then(|(millis, conversation)| {
        Some(ListKey {
            started_at: Timestamp::from_millis(millis.parse().ok()?),
            conversation: conversation.parse().ok()?,
        })
    });
    parts.ok_or_else(|| ErrorBody::field("/cursor", "not a cursor of this list"))
}
