//! What a shard's log holds after a day: visitors come, are assigned, talk, read, and leave, many at once.
//!
//! The n-th message given out is meant to be the n-th of its log, so that marks and states name sequences that exist.

use bus_schema::{
    AgentId, Author, Body, ClientId, ConversationId, Event, EventId, GroupId, Lane, Subject, TenantId,
    ThreadId, Timestamp, Visibility, VisitorId, config::MemberPriority, event::*, state::*,
};
use uuid::Uuid;

use super::super::own_bus::SHARD;
use crate::log::Write;

/// Conversations that are open at any time.
const OPEN: usize = 200;
const AGENTS: usize = 20;
/// Visitor's message, agent's message, the visitor's mark: this often.
const ROUNDS: u32 = 20;
const CANDIDATES: usize = 5;

/// Events without end, as they would follow each other.
pub struct Traffic {
    tenant: TenantId,
    group: GroupId,
    agents: Vec<AgentId>,
    chats: Vec<Chat>,
    begun: u32,
    seq: u64,
    text: String,
}

/// One open conversation.
#[derive(Debug, Clone)]
struct Chat {
    visitor: VisitorId,
    conversation: ConversationId,
    thread: ThreadId,
    agent: AgentId,
    started_seq: u64,
    step: u32,
}

impl Traffic {
    /// Texts have `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let mut traffic = Self {
            tenant: TenantId::from_uuid(Uuid::now_v7()),
            group: GroupId::from_uuid(Uuid::now_v7()),
            agents: (0..AGENTS).map(|_| AgentId::from_uuid(Uuid::now_v7())).collect(),
            chats: Vec::new(),
            begun: 0,
            seq: 0,
            text: "lorem ipsum ".chars().cycle().take(bytes).collect(),
        };
        for at in 0..OPEN {
            let mut chat = traffic.chat();
            // So that they do not all start and end together.
            chat.step = u32::try_from(at).map_or(0, |at| at % 2);
            traffic.chats.push(chat);
        }
        traffic
    }

    fn chat(&mut self) -> Chat {
        self.begun += 1;
        let visitor = VisitorId::from_uuid(Uuid::now_v7());
        Chat {
            visitor,
            conversation: ConversationId::of(self.tenant, visitor),
            thread: ThreadId::from_uuid(Uuid::now_v7()),
            agent: self.agents[self.begun as usize % AGENTS],
            started_seq: 0,
            step: 0,
        }
    }

    fn event(&self, chat: &Chat, author: Author, body: Body) -> Event {
        let client = format!("c-{}", self.seq);
        let of_conversation = body.agent_state().is_none() && body.visitor_record().is_none();
        Event {
            id: EventId::of_send(self.tenant, chat.conversation, author.id, &client),
            cause: None,
            tenant_id: self.tenant,
            conversation_id: of_conversation.then_some(chat.conversation),
            thread_id: of_conversation.then_some(chat.thread),
            author,
            client_id: ClientId::new(client).ok(),
            visibility: Visibility::All,
            body,
        }
    }

    fn life(&self, chat: &Chat, status: ThreadStatus) -> LifeState {
        let assigned = status == ThreadStatus::Active;
        LifeState {
            thread_id: chat.thread,
            status,
            group_id: Some(self.group),
            assignee_id: assigned.then_some(chat.agent),
            participants: if assigned { vec![chat.agent] } else { Vec::new() },
            started_at: now(),
            started_seq: (chat.started_seq > 0).then_some(chat.started_seq),
            visitor_id: chat.visitor,
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Extra::new(),
        }
    }

    fn load(&self, chat: &Chat) -> Body {
        let mine = self.chats.iter().filter(|other| other.agent == chat.agent);
        let held = |chat: &Chat| Held {
            conversation_id: chat.conversation,
            thread_id: chat.thread,
            since: now(),
            group_id: None,
            given_away: false,
        };
        Body::AgentLoad(AgentLoad {
            state: AgentState {
                agent_id: chat.agent,
                status: RoutingStatus::Accepting,
                capacity: u32::try_from(OPEN / AGENTS).unwrap_or(u32::MAX),
                presence: Default::default(),
                conversations: mine.map(held).collect(),
                last_assigned_at: Some(now()),
                offline_since: None,
                left_at: None,
                misses: 0,
                deleted: false,
                commands: Vec::new(),
                extra: Extra::new(),
            },
        })
    }

    fn decided(&self, chat: &Chat) -> Body {
        let candidate = |agent: &AgentId| Candidate {
            agent_id: *agent,
            load: 3,
            capacity: 10,
            priority: MemberPriority::Normal,
            last_assigned_at: Some(now()),
            refused: None,
        };
        let decision = Decision {
            strategy: Some(Strategy::LeastLoaded),
            config_revision: 7,
            candidates: self.agents.iter().take(CANDIDATES).map(candidate).collect(),
            chosen: Some(chat.agent),
            rule: DecisionRule::LeastLoaded,
            waiting_since: None,
            took_us: 42,
        };
        let state = DeskState {
            thread_id: chat.thread,
            queue: None,
            priority: Priority::Normal,
            skills: Vec::new(),
            skills_waived: false,
            offers: Vec::new(),
            avoid: Vec::new(),
            deadlines: Vec::new(),
            misses: 0,
            last_agent_id: Some(chat.agent),
            last_assigned_at: None,
            idle_since: None,
            commands: Vec::new(),
            extra: Extra::new(),
        };
        Body::Decided(Decided { decision, state })
    }

    fn message(&self) -> Body {
        Body::Message(Message { text: self.text.clone(), quick_replies: Vec::new() })
    }

    /// What comes next in this conversation, and where; none when it is over.
    fn next_of(&self, chat: &Chat) -> Option<(Subject, Event)> {
        let (shard, tenant, conversation) = (SHARD, self.tenant, chat.conversation);
        let lane = |lane| Subject::Conversation { shard, tenant, conversation, lane };
        let agents = Subject::Agent { shard, tenant, agent: chat.agent };
        let (visitor, agent) = (Author::visitor(chat.visitor), Author::agent(chat.agent));
        let (subject, author, body) = match chat.step {
            0 => {
                let record = VisitorRecord {
                    name: Some("Ada Lovelace".to_owned()),
                    ..VisitorRecord::new(chat.visitor)
                };
                let seen =
                    VisitorSeen { widget_id: None, external_id: None, verified: false, page: None, record };
                let visitors = Subject::Visitor { shard, tenant, visitor: chat.visitor };
                (visitors, visitor, Body::VisitorSeen(seen))
            }
            1 => {
                let (group_id, state) = (Some(self.group), self.life(chat, ThreadStatus::Queued));
                let started = Started { group_id, widget_id: None, source: StartSource::Widget, state };
                (lane(Lane::Life), visitor, Body::Started(started))
            }
            2 => (agents, Author::SYSTEM, self.load(chat)),
            3 => {
                let state = self.life(chat, ThreadStatus::Active);
                let assigned = Assigned { agent_id: chat.agent, group_id: Some(self.group), state };
                (lane(Lane::Life), Author::SYSTEM, Body::Assigned(assigned))
            }
            4 => (lane(Lane::Desk), Author::SYSTEM, self.decided(chat)),
            step if step < 5 + 3 * ROUNDS => match step % 3 {
                2 => (lane(Lane::Msg), visitor, self.message()),
                0 => (lane(Lane::Msg), agent, self.message()),
                _ => (lane(Lane::Mark), visitor, Body::Read(Read { up_to_seq: self.seq })),
            },
            step if step == 5 + 3 * ROUNDS => {
                let state = self.life(chat, ThreadStatus::Closed);
                let closed = Closed { by: agent, reason: CloseReason::Resolved, state };
                (lane(Lane::Life), agent, Body::Closed(closed))
            }
            step if step == 6 + 3 * ROUNDS => (agents, Author::SYSTEM, self.load(chat)),
            _ => return None,
        };
        Some((subject, self.event(chat, author, body)))
    }
}

impl Iterator for Traffic {
    type Item = Write;

    fn next(&mut self) -> Option<Write> {
        self.seq += 1;
        // Not in turns: what comes together in a batch is of some conversations more than once.
        let slot = usize::try_from(self.seq.wrapping_mul(0x9e37_79b9) >> 7).unwrap_or(0) % OPEN;
        let (subject, event) = match self.next_of(&self.chats[slot]) {
            Some(next) => next,
            None => {
                self.chats[slot] = self.chat();
                self.next_of(&self.chats[slot])?
            }
        };
        let chat = &mut self.chats[slot];
        if chat.step == 1 {
            chat.started_seq = self.seq;
        }
        chat.step += 1;
        Some(Write::new(subject.to_string(), event.encode()))
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(chrono::Utc::now().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_day_has_all_that_a_conversation_has_and_mostly_messages() {
        let mut kinds = BTreeMap::<String, usize>::new();
        for write in Traffic::new(300).take(20_000) {
            let subject: Subject = Subject::parse(&write.subject).unwrap();
            let event = Event::decode(&write.payload).unwrap();
            assert_eq!(event.conversation_id, subject.conversation().map(|(conversation, _)| conversation));
            *kinds.entry(event.body.name().to_owned()).or_default() += 1;
        }
        assert!(kinds["message"] > 10_000 && kinds["read"] > 5_000, "{kinds:?}");
        for rare in ["visitor_seen", "started", "load", "assigned", "decided", "closed"] {
            assert!(kinds.get(rare).is_some_and(|count| *count > 100), "{rare}: {kinds:?}");
        }
    }
}
