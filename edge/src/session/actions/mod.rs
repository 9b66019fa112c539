//! Everything but sending: one arm an action, one file a family.
//!
//! Invariant: who may not use an action learns only that; the connection's requests in flight bound the tasks.

mod account;
mod files;
mod history;
mod marks;
mod signals;
mod tags;
mod thread;
mod visitor;

use std::sync::Arc;

use bus_schema::{ConversationId, ErrorCode, protocol::Action};
use ops::chat::MarkKind;
use serde_json::value::RawValue;

use super::{login::Session, send};
use crate::{
    conn::Reply,
    desk,
    hub::{Act, Ask, Deed},
};

pub use history::page_of;

/// Begins to carry out a request. What a conversation takes in turn is handed on in the order it came; everything
/// else is a task of its own.
pub async fn begin(session: &Arc<Session>, action: Action, reply: Reply, payload: Option<&RawValue>) {
    if !action.who().allows(session.who.role()) {
        return reply.fail(ErrorCode::Forbidden.into());
    }
    match action {
        Action::SendEvent => send::send_event(session, reply, payload),
        // Boxed, so that a connection's task, which carries this, is as small as one at rest needs.
        Action::Typing => Box::pin(signals::typing(session, reply, payload)).await,
        Action::Preview => Box::pin(signals::preview(session, reply, payload)).await,
        Action::MarkDelivered => Box::pin(marks::mark(session, reply, MarkKind::Delivered, payload)).await,
        Action::MarkRead => Box::pin(marks::mark(session, reply, MarkKind::Read, payload)).await,
        _ => {
            let (session, payload) = (session.clone(), payload.map(ToOwned::to_owned));
            let tasks = session.app.tasks.clone();
            tasks.spawn(async move { carry_out(&session, action, reply, payload.as_deref()).await });
        }
    }
}

/// Hands something on to the conversation's worker, which answers.
async fn act(session: &Session, reply: Reply, conversation: ConversationId, deed: Deed) {
    let who = session.who;
    let home = match who.home(&session.app, conversation) {
        Ok(home) => home,
        Err(error) => return reply.fail(error),
    };
    let (audience, author, sender) = (who.audience(), who.author(), who.sender());
    let act = Act { reply, home, audience, author, sender, deed };
    // A hub that is gone drops it, and its reply says so.
    let _ = session.app.hub.ask(home, Ask::Act(Box::new(act))).await;
}

async fn carry_out(session: &Arc<Session>, action: Action, reply: Reply, payload: Option<&RawValue>) {
    match action {
        Action::StartThread => thread::start(session, reply, payload).await,
        Action::CloseThread => reply.with(thread::close(session, payload).await),
        Action::ListEvents => reply.with(history::list_events(session, payload).await),
        Action::ListThreads => reply.with(history::list_threads(session, payload).await),
        Action::Rate => reply.with(visitor::rate(session, payload).await),
        Action::UpdateVisitor => reply.with(visitor::update(session, payload).await),
        Action::SetPage => reply.with(visitor::set_page(session, payload).await),
        Action::Tag => tags::tag(session, reply, true, payload).await,
        Action::Untag => tags::tag(session, reply, false, payload).await,
        Action::GetAttachment => reply.with(files::get_attachment(session, payload).await),
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
        | Action::SetSkills
        | Action::Transfer
        | Action::ListAgents
        | Action::ListVisitors => desk::carry_out(session, action, reply, payload).await,
        // The reader and `begin` keep these to themselves.
        Action::Login
        | Action::Ping
        | Action::SendEvent
        | Action::Typing
        | Action::Preview
        | Action::MarkDelivered
        | Action::MarkRead => reply.fail(ErrorCode::Internal.into()),
    }
}
