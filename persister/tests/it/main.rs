//! Persister against real servers.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod filling;
mod kinds;
mod outage;
mod process;
mod read;
mod rebuild;
mod schema;
mod story;
mod walls;
mod world;
