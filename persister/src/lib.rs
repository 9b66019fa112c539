//! The read model: every event of the log into Postgres, data and position in one transaction.
//!
//! Invariant: schema `chat` is a pure function of the log, so it can be thrown away and built again.

#![forbid(unsafe_code)]

pub mod db;
