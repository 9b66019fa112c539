//! A Chatbus client for visitors and agents: what a correct widget does, without the page.
//!
//! Invariant: what [`Client::entries`] shows of a conversation is what the log holds for its reader, whatever
//! connection, edge or bus did meanwhile; and a send ends exactly once, as stored or as failed.
//!
//! One task a client reads and keeps time; callers write straight to the socket. It drives benchmarks on the cores it
//! measures, so an event costs it one decode and no allocation when lists are off (`keep_events: 0`).

mod backoff;
mod clock;
mod conversation;
mod core;
mod driver;
mod handle;
mod http;
pub(crate) mod link;
mod list;
mod options;
mod outbox;
pub(crate) mod socket;
mod tokens;
mod visitor;
mod wire;

pub use conversation::ThreadNow;
pub use handle::{Client, Sending, View, message_json, new_client_id};
pub use http::{ApiError, Http, StaffAgent, StaffSession, StaffTokens};
pub use list::{Applied, Entry, EventList, ListCounts};
pub use options::{Counts, Observer, Options, Phase, Push, RequestError, Sent, State, Stopped};
pub use outbox::OutboxLimits;
pub use tokens::{Tokens, now_ms};
pub use visitor::{Visitor, new_visitor_key};
pub use wire::EventHead;
