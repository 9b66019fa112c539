//! A note for whoever has a thread next, from whoever hands it on.
//!
//! Invariant: it is left where the transfer led and only once that is done, so one that was refused leaves no note; a
//! note that could not be written undoes nothing.

use bus_schema::{
    Author, Body, ClientId, ErrorBody, ErrorCode, FieldError, Visibility,
    command::Answer,
    event::{Kind, Message},
    subject::ConversationSubjects,
};
use serde_json::value::to_raw_value;

use super::{Draft, Sent, TextLimit, content, send};
use crate::log::Log;

/// A note whose text may be stored.
#[derive(Debug, Clone)]
pub struct Note(Body);

impl Note {
    /// Checked like any message; what is wrong is said of the field at `pointer`.
    pub fn new(text: String, limit: TextLimit, pointer: &str) -> Result<Self, ErrorBody> {
        let data = to_raw_value(&Message { text, quick_replies: Vec::new() });
        let body = content(Kind::Message, &data.map_err(|_| ErrorCode::Internal)?, limit, "");
        body.map(Self).map_err(|ErrorBody { code, errors, .. }| {
            let named = errors.into_iter().map(|field| FieldError::new(pointer, field.message));
            ErrorBody { code, ..ErrorBody::fields(named.collect()) }
        })
    }

    /// Stores it after the router's `answer` to the transfer.
    pub async fn leave(
        self,
        log: &Log,
        home: ConversationSubjects,
        author: Author,
        client_id: ClientId,
        answer: &Answer,
    ) -> Result<Sent, ErrorBody> {
        let thread = match answer {
            Answer::Thread { thread_id, .. } => Some(*thread_id),
            _ => None,
        };
        let draft = Draft {
            home,
            author,
            client_id,
            visibility: Visibility::Agents,
            body: self.0,
            thread,
            retry: false,
            cause: None,
        };
        // Whoever handed the thread on could see it then; the next group's conversations may be hidden from them.
        send(log, &draft, None, |_| Ok(())).await
    }
}
