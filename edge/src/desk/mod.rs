//! What staff do about threads, and what they see of the whole desk: one arm an action.
//!
//! Invariant: the role was checked before; what an agent may see is the log's word, and what an agent may do to what is
//! seen is the router's.

mod commands;
pub mod floor;
mod lists;
mod place;
mod sight;
mod watch;
mod who;

use std::sync::Arc;

use bus_schema::{ErrorBody, protocol::Action};
use serde_json::value::RawValue;

use crate::{conn::Reply, session::Session};

pub use place::place;
pub use sight::seen;
pub use who::start;

/// Carries out one of the actions of staff.
pub async fn carry_out(session: &Arc<Session>, action: Action, reply: Reply, given: Option<&RawValue>) {
    match action {
        Action::SetStatus => reply.with(commands::set_status(session, given).await),
        Action::Take | Action::Decline | Action::Join | Action::Leave => {
            reply.with(commands::about(session, action, given).await);
        }
        Action::Assign => reply.with(commands::assign(session, given).await),
        Action::SetPriority => reply.with(commands::set_priority(session, given).await),
        Action::SetSkills => reply.with(commands::set_skills(session, given).await),
        Action::Transfer => reply.with(commands::transfer(session, given).await),
        Action::Watch => reply.with(watch::watch(session, given).await),
        Action::Unwatch => reply.with(watch::unwatch(session, given).await),
        Action::ListConversations => reply.with(lists::conversations(session, given).await),
        Action::ListAgents => reply.with(lists::agents(session, given).await),
        Action::ListVisitors => reply.with(lists::visitors(session, given).await),
        _ => reply.fail(ErrorBody::field("/action", "this action is not supported yet")),
    }
}
