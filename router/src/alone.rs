//! A core by itself: what it asks to be stored is stored at once. For what-if runs and benchmarks, where there is no bus.

use bus_schema::{
    CommandId, ErrorCode, Event, Subject, TenantId, Timestamp,
    command::{Actor, Command, CommandRequest, Outcome},
};
use uuid::Uuid;

use crate::routing::{Effect, Heard, Input, Message, Routing, Settings, Stored, Token};

/// A core, its clock, and where its log would end.
#[derive(Debug)]
pub struct Alone {
    pub routing: Routing,
    pub now: Timestamp,
    seq: u64,
    asked: u64,
    outcome: Option<Outcome>,
}

impl Alone {
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let mut alone = Self { routing: Routing::new(settings), now, seq: 0, asked: 0, outcome: None };
        alone.input(Input::Activate, &mut |_, _| {});
        alone
    }

    /// Tells the core, and does what it asks for until it rests; `stored` sees what it writes.
    pub fn input(&mut self, input: Input, stored: &mut dyn FnMut(&Message, Timestamp)) {
        self.routing.handle(input, self.now);
        loop {
            let answer = match self.routing.poll_effect() {
                Some(Effect::Write(write)) => {
                    let first = self.seq + 1;
                    self.seq += write.messages.len() as u64;
                    write.messages.iter().for_each(|message| stored(message, self.now));
                    Input::Written { id: write.id, seqs: (first..=self.seq).collect() }
                }
                Some(Effect::Reply { outcome, .. }) => {
                    self.outcome = Some(outcome);
                    continue;
                }
                Some(Effect::Refresh { subject }) => Input::Refreshed { subject, last: None },
                Some(Effect::Look { tenant, conversation, thread, .. }) => {
                    Input::Looked { tenant, conversation, thread, said: Vec::new(), up_to: None, more: false }
                }
                Some(Effect::AskEdges { tenant, conversations: asked, edges }) => {
                    let heard = Some(Heard { there: asked.iter().copied().collect(), edges });
                    Input::EdgesSaid { tenant, asked, heard }
                }
                Some(Effect::Tell { .. }) => continue,
                None if self.routing.has_more() => Input::Tick,
                None => return,
            };
            self.routing.handle(answer, self.now);
        }
    }

    /// Something that others write.
    pub fn log(&mut self, subject: Subject, event: Event, stored: &mut dyn FnMut(&Message, Timestamp)) {
        self.seq += 1;
        let read = Stored { subject, seq: self.seq, at: self.now, event: Some(Box::new(event)) };
        self.input(Input::Log(read), stored);
    }

    /// The core's one answer to a command.
    pub fn command(
        &mut self,
        tenant: TenantId,
        actor: Actor,
        command: Command,
        stored: &mut dyn FnMut(&Message, Timestamp),
    ) -> Outcome {
        self.asked += 1;
        let command_id = CommandId::from_uuid(Uuid::from_u128(u128::from(self.asked)));
        let request = CommandRequest { command_id, actor, deadline: None, command };
        self.outcome = None;
        self.input(Input::Command { token: Token(self.asked), tenant, request }, stored);
        self.outcome.take().unwrap_or_else(|| bus_schema::ErrorBody::from(ErrorCode::Unavailable).into())
    }
}
