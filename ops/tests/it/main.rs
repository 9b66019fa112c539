//! What the kit and the test rig promise, against real servers and real processes.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod bus;
mod chat;
mod client;
mod features;
mod files;
mod keys;
mod kit;
mod lifecycle;
mod log_cluster;
mod log_read;
mod log_write;
mod orphans;
mod proxy;
mod rig_nats;
mod rig_postgres;
mod servers;
mod up;
mod users;
mod wire;
