//! What no store holds of a conversation: whether its visitor is there, and its place in a queue.
//!
//! Invariant: what nobody says in time stays unknown, and nothing fails for it.

use super::view::ConversationView;
use crate::{access::Caller, app::App};

/// Tells of each whether its visitor has a connection; the edges are asked once for all of them.
pub async fn tell_online(app: &App, caller: &Caller, shown: &mut [ConversationView]) {
    let ids = shown.iter().map(|conversation| conversation.id).collect();
    let online = app.bus.online(caller, ids).await;
    for conversation in shown {
        conversation.visitor.online = online.of(conversation.id);
    }
}

/// Tells the place of a thread that waits; the router is asked.
pub async fn tell_place(app: &App, caller: &Caller, shown: &mut ConversationView) {
    if shown.thread.waiting_since.is_some() {
        let thread = app.bus.thread_now(caller, shown.id).await.filter(|thread| thread.id == shown.thread.id);
        shown.thread.queue = thread.and_then(|thread| thread.queue);
    }
}
