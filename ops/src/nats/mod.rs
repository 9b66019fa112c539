//! The connection to the bus.
//!
//! Invariant: whoever holds a `Bus` learns of every moment in which live messages may have been lost: the
//! `generation` grows at each reconnect and each time a subscription's queue overflowed.

mod connect;
mod credentials;
mod durability;
mod state;
mod version;

pub(crate) use connect::pause_before;
pub use connect::{ConnectError, Options, connect, connect_with};
pub(crate) use credentials::Identity;
pub use durability::{Durability, DurabilityError, check as check_durability};
pub use state::{Bus, BusState};
pub use version::{FLOOR, Version};
