//! The life cycle all services share.
//!
//! Invariant: settings, telemetry, operations listener, work, drain, end; in this order, whatever the service.

mod checklist;
mod cli;
mod context;
mod exit;
mod healthcheck;
mod lifecycle;
mod listener;
mod main;
mod name;

pub use checklist::{Finding, Further, Level};
pub use context::Context;
pub use exit::{BAD_CONFIGURATION, UNAVAILABLE, Unavailable, code_of, misconfigured};
pub use main::{Extra, Main, install_crypto, main};
pub use name::Service;
