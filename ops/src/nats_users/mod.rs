//! One bus user for each service, with the least rights that its work needs.
//!
//! Invariant: what a service may do on the bus stands in one table; the server's configuration is made from it.

mod render;
mod rights;
mod user;

pub use render::server_config;
pub use rights::{RIGHTS, Rights};
pub use user::{BusUser, UserError};
