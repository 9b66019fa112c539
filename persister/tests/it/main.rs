//! Persister against real servers.

mod schema;
