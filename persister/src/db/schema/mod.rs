//! The tables, as diesel knows them, by Postgres schema.

pub mod chat;
pub mod config;

/// The schema that persister writes.
pub const CHAT: &str = "chat";
/// The schema that admin-api writes.
pub const CONFIG: &str = "config";
