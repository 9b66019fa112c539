//! What a router's shell decides between the core's wishes and the bus, without IO: how a write is seen to its end,
//! whose turn it is, which edges live.
//!
//! The shell carries these steps out with a real bus, the simulation with a model of one; neither decides anything
//! more, so what holds in the simulation holds for the shell.

mod edges;
mod holding;
mod pause;
mod turn;
mod writing;

pub use edges::Edges;
pub use holding::{Ask as LeaseAsk, Holder, Holding, Next as LeaseNext, Wrote};
pub use pause::{Backoff, Pause};
pub use turn::{Change, Role, Source, Turn};
pub use writing::{Ask, CONTENTION_TRIES, Found, Next, Tried, Writing};
