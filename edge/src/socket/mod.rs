//! The wire: frames in, frames out, and what guards both.

mod assemble;
mod guard;
mod guarded;
mod outbox;
