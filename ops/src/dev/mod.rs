//! Servers and processes on a developer's machine: found or fetched, started privately, tied to this process.
//!
//! Nothing started here outlives the process that started it, however that one ends.

pub mod fetch;
pub mod guard;
pub mod limits;
pub mod nats;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod servers;
pub mod user;
pub mod version;

/// An error with all that caused it, for people.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}\n  because: {error}");
        cause = error.source();
    }
    text
}
