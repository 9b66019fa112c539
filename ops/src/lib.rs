//! The kit every Chatbus process runs in: settings, telemetry, health, life cycle, bus and tokens.
//!
//! Invariant: it links no service, so each service may build on it and none can reach another through it.

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "testing")]
pub mod dev;
pub mod health;
pub mod invariants;
pub mod kv;
pub mod log;
pub mod metrics;
pub mod nats;
pub mod provision;
pub mod service;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
