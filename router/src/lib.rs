//! Who answers this conversation: a pure core and its shell.
//!
//! [`routing`] decides and [`steps`] says what is done about it, both without clock, randomness or IO; `service` reads
//! the log for them, does what they ask for, and tells them what came of it.

#![forbid(unsafe_code)]

pub mod alone;
pub mod bench;
pub mod replay;
pub mod routing;
#[cfg(feature = "service")]
pub mod service;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod steps;
