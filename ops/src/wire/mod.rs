//! A connection to the bus for hot paths: what arrives goes straight to its one owner, and what is sent waits for the
//! owner's next turn, so that many messages share one read and one write.
//!
//! Invariant: what is sent over it arrives in the order of the calls, so a read of the leader that follows a
//! subscription is answered after it stands. Whoever owns it learns of each moment in which copies may have been lost
//! ([`Incoming::Connected`]), and every request ends: answered, or [`Lost`] within its time.

mod answers;
mod driver;
mod encode;
mod headers;
mod hello;
mod parse;
mod server;

pub use answers::{Lost, Wire};
pub use driver::{Driver, FIRST_SID, Incoming, Message};
pub use encode::HeaderBlock;
pub use headers::{Headers, status};
