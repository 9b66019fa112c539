//! A decision before it is stored: the messages it consists of, and what happens when they are.

use std::fmt::Write as _;

use bus_schema::{
    Author, Body, ConversationId, ErrorBody, ErrorCode, Event, EventId, TenantId, ThreadId, Visibility,
    command::Outcome,
    event::Decided,
    state::{AgentState, Decision, DeskState, LifeState},
};
use uuid::Uuid;

use super::{
    effect::Message,
    input::{Token, WriteId},
    settings::Settings,
    slot::{Key, QueueId, Target},
};
use bus_schema::{Timestamp, command::CommandRequest};

/// Room for a subject with the place of a message in a write.
const PLACE_LEN: usize = 192;

/// A command until it is answered.
#[derive(Debug, Clone)]
pub struct Job {
    pub token: Token,
    pub request: CommandRequest,
    pub arrived: Timestamp,
    /// Writes of it whose outcome is not known.
    pub doubts: u8,
}

impl Job {
    /// What can be said of it for certain: a write of it that is in doubt may yet be stored, whatever the log says now.
    pub fn certain(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Rejected { .. } if self.doubts > 0 => ErrorBody::from(ErrorCode::Timeout).into(),
            outcome => outcome,
        }
    }
}

/// What comes of looking at a command or chore.
#[derive(Debug)]
pub enum Step {
    Nothing,
    /// It needs what is locked.
    Blocked(Key),
    Write(Plan),
    Reply(Outcome),
    /// It needs what was said in this conversation.
    Look(ConversationId),
    /// It needs to know whether this conversation's visitor is there.
    AskEdges(ConversationId),
    /// It needs the last state of this conversation's closed thread, which is not kept.
    Recall(ConversationId),
}

#[derive(Debug)]
pub enum After {
    /// Look at it again: there may be more to do.
    Again,
    Reply(Outcome),
}

/// Messages that are stored together. Load of agents comes first, those who lose before those who gain.
#[derive(Debug)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub after: After,
    /// It serves this queue: by how it goes the next batch is sized.
    pub serves: Option<QueueId>,
}

#[derive(Debug)]
pub struct Change {
    pub target: Target,
    pub author: Author,
    pub cause: Option<Uuid>,
    pub thread: Option<ThreadId>,
    pub body: Body,
}

impl Plan {
    pub fn new(after: After) -> Self {
        Self { changes: Vec::new(), after, serves: None }
    }

    pub fn agent(&mut self, cause: Option<Uuid>, body: Body) {
        let agent =
            body.agent_state().map(|state| state.agent_id).expect("an agent's kind carries its state");
        self.changes.push(Change {
            target: Target::Agent(agent),
            author: Author::SYSTEM,
            cause,
            thread: None,
            body,
        });
    }

    pub fn life(&mut self, conversation: ConversationId, author: Author, cause: Option<Uuid>, body: Body) {
        let thread = body.life_state().map(|state| state.thread_id);
        self.changes.push(Change { target: Target::Life(conversation), author, cause, thread, body });
    }

    /// A change of the routing state by a person's word, which explains itself.
    pub fn desk(&mut self, conversation: ConversationId, author: Author, cause: Option<Uuid>, body: Body) {
        let thread = body.desk_state().map(|state| state.thread_id);
        self.changes.push(Change { target: Target::Desk(conversation), author, cause, thread, body });
    }

    pub fn decided(
        &mut self,
        conversation: ConversationId,
        author: Author,
        cause: Option<Uuid>,
        decision: Decision,
        state: DeskState,
    ) {
        self.desk(conversation, author, cause, Body::Decided(Decided { decision, state }));
    }

    /// The routing state in it, to add to it.
    pub fn last_desk(&mut self) -> Option<&mut DeskState> {
        self.changes.iter_mut().rev().find_map(|change| match &mut change.body {
            Body::Decided(decided) => Some(&mut decided.state),
            _ => None,
        })
    }
}

impl Change {
    /// The message, after so many others of the plan on its subject.
    pub fn message(
        self,
        settings: &Settings,
        tenant: TenantId,
        write: WriteId,
        expected: u64,
        after: usize,
    ) -> Message {
        let subject = self.target.subject(settings.shard, tenant);
        // By the write, for one that was given up in doubt must not be taken for the one that was decided after it.
        let mut place = String::with_capacity(PLACE_LEN);
        write!(place, "{subject}#{}+{after}", write.0).expect("writing to a String never fails");
        let (conversation_id, visibility) = match self.target {
            Target::Agent(_) => (None, Visibility::All),
            Target::Life(conversation) => (Some(conversation), Visibility::All),
            Target::Desk(conversation) => (Some(conversation), Visibility::Agents),
        };
        let event = Event {
            id: EventId::of_write(settings.epoch, &place, expected, settings.incarnation),
            cause: self.cause,
            tenant_id: tenant,
            conversation_id,
            thread_id: self.thread,
            author: self.author,
            client_id: None,
            visibility,
            body: self.body,
        };
        Message { subject, expected: (after == 0).then_some(expected), event }
    }

    pub fn life_state(&self) -> Option<LifeState> {
        self.body.life_state().cloned()
    }

    pub fn desk_state(&self) -> Option<DeskState> {
        self.body.desk_state().cloned()
    }

    pub fn agent_state(&self) -> Option<AgentState> {
        self.body.agent_state().cloned()
    }
}
