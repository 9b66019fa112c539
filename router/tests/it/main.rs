//! The router against real servers.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod chaos;
mod commands;
mod dead_edge;
mod faults;
mod kit;
mod moves;
mod repair;
mod replay;
mod routing;
mod timers;
mod turns;
