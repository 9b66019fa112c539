//! The kit every Chatbus process runs in: settings, telemetry, health, life cycle, bus and tokens.
//!
//! Invariant: it links no service, so each service may build on it and none can reach another through it.

#![forbid(unsafe_code)]

pub mod auth;
pub mod chat;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "testing")]
pub mod dev;
pub mod files;
pub mod health;
pub mod invariants;
pub mod kv;
pub mod log;
pub mod metrics;
pub mod nats;
pub mod nats_users;
pub mod peer;
pub mod provision;
mod secret_file;
pub mod service;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tools")]
pub mod tools;
pub mod wire;
