//! Conversations: read from the read model, acted on through the router and the log.

mod act;
mod events;
mod get;
mod list;
mod routing;
mod scope;
mod send;
mod threads;
mod view;

pub use act::{Acted, Assign, CloseThread, Transfer, assign, close, resolve, transfer};
pub use events::{EventList, Of, Way, events, page, thread_events};
pub use get::get;
pub use list::list;
pub use routing::{RoutingEntry, routing};
pub use scope::{Current, Scope};
pub use send::{SendEvent, Sent, send, send_to_thread};
pub use threads::{ThreadRecord, thread, threads};
pub use view::{ConversationDetail, ConversationView};
