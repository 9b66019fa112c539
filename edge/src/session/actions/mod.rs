//! Everything but sending: one arm an action, one file a family.
//!
//! Invariant: who may not use an action learns only that. Each request is a task of its own, bounded by the
//! connection's requests in flight.

mod account;
mod history;
mod thread;

use std::sync::Arc;

use bus_schema::{ErrorBody, ErrorCode, protocol::Action};
use serde_json::value::RawValue;

use super::login::Session;
use crate::{conn::Reply, desk};

pub use history::page_of;

/// Begins to carry out a request.
pub fn begin(session: &Arc<Session>, action: Action, reply: Reply, payload: Option<&RawValue>) {
    if !action.who().allows(session.who.role()) {
        return reply.fail(ErrorCode::Forbidden.into());
    }
    let (session, payload) = (session.clone(), payload.map(ToOwned::to_owned));
    let tasks = session.app.tasks.clone();
    tasks.spawn(async move { carry_out(&session, action, reply, payload.as_deref()).await });
}

async fn carry_out(session: &Arc<Session>, action: Action, reply: Reply, payload: Option<&RawValue>) {
    match action {
        Action::StartThread => thread::start(session, reply, payload).await,
        Action::CloseThread => reply.with(thread::close(session, payload).await),
        Action::ListEvents => reply.with(history::list_events(session, payload).await),
        Action::RefreshToken => account::refresh_token(session, reply, payload),
        Action::Logout => account::logout(session, reply, payload),
        Action::SetStatus
        | Action::ListConversations
        | Action::Watch
        | Action::Unwatch
        | Action::Join
        | Action::Leave
        | Action::Take
        | Action::Decline
        | Action::Assign
        | Action::SetPriority
        | Action::Transfer
        | Action::ListAgents
        | Action::ListVisitors => desk::carry_out(session, action, reply, payload).await,
        _ => reply.fail(ErrorBody::field("/action", "this action is not supported yet")),
    }
}
