//! The router against real servers.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod commands;
mod faults;
mod kit;
mod moves;
mod repair;
mod routing;
mod timers;
mod turns;
