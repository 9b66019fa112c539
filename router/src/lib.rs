//! Who answers this conversation: a pure core and its shell.
//!
//! [`routing`] decides, without clock, randomness or IO; `service` reads the log for it, does what it asks for, and
//! tells it what came of it.

#![forbid(unsafe_code)]

pub mod routing;
#[cfg(feature = "service")]
pub mod service;
