//! The database both writers of Postgres share: schema, types, pool, migrations.
//!
//! Invariant: `chat` is written by persister alone and `config` by admin-api alone; no query of one writes the other.

mod checklist;
mod connect;
pub mod error;
pub mod migrations;
mod pool;
pub mod roles;
pub mod schema;
mod types;

pub use checklist::checklist;
pub use connect::{Options, connect};
pub use error::DbError;
pub use pool::{Connection, Pool};
pub use types::{At, Entity, Id};
