//! The read model: every event of the log into Postgres, data and position in one transaction.
//!
//! Invariant: schema `chat` is a pure function of the log, so it can be thrown away and built again.

#![forbid(unsafe_code)]

mod agree;
mod batch;
mod board;
mod chain;
mod check;
pub mod db;
mod measures;
mod migrate;
mod reader;
mod rebuild;
mod rows;
mod run;
mod store;
mod worker;
mod writer;

pub use check::check;
pub use migrate::migrate;
pub use rebuild::rebuild;
pub use run::run;
