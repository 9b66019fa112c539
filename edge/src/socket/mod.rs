//! The wire: frames in, frames out, and what guards both.

mod assemble;
mod guard;
mod guarded;
mod outbox;
mod stream;
mod utf8;
mod writer;

pub use assemble::{Assembler, Message};
pub use guard::{FrameGuard, Violation};
pub use guarded::Guarded;
pub use outbox::{Outbox, Outgoing};
pub use stream::{Halves, halves};
pub use writer::write;
