//! The wire: frames in, frames out, and what guards both.

mod assemble;
mod frames;
mod guard;
mod inbound;
mod outbox;
mod outgoing;
mod stream;
mod utf8;

pub use assemble::{Assembler, Message};
pub use guard::{FrameGuard, Violation};
pub use inbound::{Heard, Inbound, Part, Said};
pub use outbox::{Flushed, Outbox, Pushed, Wrote};
pub use outgoing::{Outgoing, Topic};
pub use stream::{Upgraded, upgraded};
