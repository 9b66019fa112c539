//! A hand at the router's desk: writes what the router would, by the same rules of the log.

use bus_schema::{
    AgentId, Author, Body, CommandId, ConversationId, Event, EventId, GroupId, Lane, Subject, Visibility,
    command::{Answer, Command, CommandRequest, Outcome},
    event::{AgentLoad, Assigned, Closed, Joined, Place, Transferred},
    protocol::{ConversationView, ThreadView},
    state::{AgentState, CloseReason, Held, LifeState, Priority, RoutingStatus, ThreadStatus},
    subject::{self, ConversationSubjects},
};
use futures::StreamExt as _;
use ops::{
    chat::{self, Life},
    log::{Expect, Write, WriteError},
};
use uuid::Uuid;

use crate::world::{World, now};

impl World {
    pub fn home(&self, conversation: ConversationId) -> ConversationSubjects {
        ConversationSubjects { shard: self.log.shard(), tenant: self.tenant, conversation }
    }

    fn event(&self, conversation: Option<ConversationId>, state: Option<&LifeState>, body: Body) -> Event {
        Event {
            id: EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: self.tenant,
            conversation_id: conversation,
            thread_id: state.map(|state| state.thread_id),
            author: Author::SYSTEM,
            client_id: None,
            visibility: Visibility::All,
            body,
        }
    }

    async fn agent_state(&self, agent: AgentId) -> (u64, AgentState) {
        let subject = Subject::Agent { shard: self.log.shard(), tenant: self.tenant, agent }.to_string();
        match self.log.last(&subject).await.unwrap() {
            Some(message) => {
                let event = Event::decode(&message.payload).unwrap();
                (message.seq, event.body.agent_state().unwrap().clone())
            }
            None => {
                let state = AgentState {
                    agent_id: agent,
                    status: RoutingStatus::Accepting,
                    capacity: 5,
                    presence: Default::default(),
                    conversations: Vec::new(),
                    last_assigned_at: None,
                    offline_since: None,
                    left_at: None,
                    misses: 0,
                    deleted: false,
                    commands: Vec::new(),
                    extra: Default::default(),
                };
                (0, state)
            }
        }
    }

    /// Gives the open thread to an agent.
    pub async fn assign(&self, conversation: ConversationId, agent: AgentId) {
        let life = chat::life(&self.log, self.home(conversation)).await.unwrap().unwrap();
        let (agent_seq, mut held) = self.agent_state(agent).await;
        let thread_id = life.state.thread_id;
        held.conversations.push(Held {
            conversation_id: conversation,
            thread_id,
            since: now(),
            group_id: None,
            given_away: false,
        });
        let state = LifeState {
            status: ThreadStatus::Active,
            assignee_id: Some(agent),
            started_seq: Some(life.started_seq()),
            ..life.state.clone()
        };
        let assigned =
            Body::Assigned(Assigned { agent_id: agent, group_id: state.group_id, state: state.clone() });
        let writes = vec![
            self.load_write(agent, agent_seq, held),
            self.life_write(conversation, &life, &state, assigned),
        ];
        self.log.publish_batch(writes).await.unwrap();
    }

    /// Gives the open thread another group and no agent, and lists who takes part.
    pub async fn hand_on(&self, conversation: ConversationId, group: GroupId, participants: Vec<AgentId>) {
        let life = chat::life(&self.log, self.home(conversation)).await.unwrap().unwrap();
        let from = Place { agent_id: life.state.assignee_id, group_id: life.state.group_id };
        let state = LifeState {
            status: ThreadStatus::Queued,
            assignee_id: None,
            group_id: Some(group),
            participants,
            started_seq: Some(life.started_seq()),
            ..life.state.clone()
        };
        let to = Place { agent_id: None, group_id: Some(group) };
        let moved = Body::Transferred(Transferred { from, to, state: state.clone() });
        let mut writes = vec![self.life_write(conversation, &life, &state, moved)];
        if let Some(agent) = life.state.assignee_id {
            let (agent_seq, mut held) = self.agent_state(agent).await;
            held.conversations.retain(|held| held.conversation_id != conversation);
            writes.push(self.load_write(agent, agent_seq, held));
        }
        self.log.publish_batch(writes).await.unwrap();
    }

    /// Has agents take part in the open thread, and says what the router would say of it.
    pub async fn take_part(&self, conversation: ConversationId, participants: Vec<AgentId>) {
        let life = chat::life(&self.log, self.home(conversation)).await.unwrap().unwrap();
        let agent_id = *participants.last().expect("somebody joins");
        let started_seq = Some(life.started_seq());
        let state = LifeState { participants, started_seq, ..life.state.clone() };
        let joined = Body::Joined(Joined { agent_id, state: state.clone() });
        let writes = vec![self.life_write(conversation, &life, &state, joined)];
        self.log.publish_batch(writes).await.unwrap();
    }

    /// What the router knows of an open thread.
    pub async fn view(&self, conversation: ConversationId) -> ConversationView {
        let state = chat::life(&self.log, self.home(conversation)).await.unwrap().unwrap().state;
        ConversationView {
            id: conversation,
            visitor_id: state.visitor_id,
            thread: ThreadView {
                id: state.thread_id,
                status: state.status,
                group_id: state.group_id,
                assignee_id: state.assignee_id,
                started_at: state.started_at,
                queue: None,
                tags: None,
            },
            priority: Priority::Normal,
            participants: state.participants,
            offered_to: Vec::new(),
        }
    }

    /// Closes the open thread, whatever is being written meanwhile; gives the sequence of the close.
    pub async fn close(&self, conversation: ConversationId) -> u64 {
        loop {
            let life = chat::life(&self.log, self.home(conversation)).await.unwrap().unwrap();
            let state = LifeState {
                status: ThreadStatus::Closed,
                assignee_id: None,
                started_seq: Some(life.started_seq()),
                ..life.state.clone()
            };
            let closed = Closed { by: Author::SYSTEM, reason: CloseReason::Resolved, state: state.clone() };
            let mut writes = vec![self.life_write(conversation, &life, &state, Body::Closed(closed))];
            if let Some(agent) = life.state.assignee_id {
                let (agent_seq, mut held) = self.agent_state(agent).await;
                held.conversations.retain(|held| held.conversation_id != conversation);
                writes.push(self.load_write(agent, agent_seq, held));
            }
            match self.log.publish_batch(writes).await {
                Ok(seqs) => return seqs[0],
                Err(WriteError::Mismatch | WriteError::InFlight) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn load_write(&self, agent: AgentId, seq: u64, state: AgentState) -> Write {
        let subject = Subject::Agent { shard: self.log.shard(), tenant: self.tenant, agent }.to_string();
        let event = self.event(None, None, Body::AgentLoad(AgentLoad { state }));
        Write::new(subject, event.encode()).expect(Expect::LastOnSubject(seq))
    }

    fn life_write(&self, conversation: ConversationId, life: &Life, state: &LifeState, body: Body) -> Write {
        let subject = self.home(conversation).lane(Lane::Life).to_string();
        let event = self.event(Some(conversation), Some(state), body);
        Write::new(subject, event.encode()).expect(Expect::LastOnSubject(life.seq))
    }

    /// Answers commands as a router would that accepts everything; gives what it was asked.
    pub async fn answer_commands(&self) -> tokio::sync::mpsc::Receiver<(CommandId, Command)> {
        self.answer_with(|_| None).await
    }

    /// The same, with answers of the test's own.
    pub async fn answer_with(
        &self,
        own: impl Fn(&CommandRequest) -> Option<Outcome> + Send + 'static,
    ) -> tokio::sync::mpsc::Receiver<(CommandId, Command)> {
        let subject = subject::commands(self.log.shard(), self.tenant);
        let mut requests = self.bus.client.subscribe(subject).await.unwrap();
        self.bus.client.flush().await.unwrap();
        let client = self.bus.client.clone();
        let (tell, asked) = tokio::sync::mpsc::channel(1_000);
        tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                let request: CommandRequest = serde_json::from_slice(&message.payload).unwrap();
                let answer = match &request.command {
                    Command::Admit { group_id, .. } => Answer::Admitted { group_id: *group_id },
                    Command::PresenceDigest { .. } => Answer::PresenceDiffers { agents: Vec::new() },
                    _ => Answer::Done,
                };
                let outcome = own(&request).unwrap_or(Outcome::Accepted { answer });
                let outcome = serde_json::to_vec(&outcome).unwrap();
                client.publish(message.reply.unwrap(), outcome.into()).await.unwrap();
                let _ = tell.try_send((request.command_id, request.command));
            }
        });
        asked
    }
}
