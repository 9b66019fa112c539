//! Who answers this conversation: a pure core and its shell.
//!
//! [`routing`] decides, without clock, randomness or IO.

pub mod routing;
