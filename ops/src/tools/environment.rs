//! The settings of a command that works on servers, which need not run services yet.
//!
//! What the environment names goes first; otherwise the `ops up` in the given directory, whose `up.env` is read whole,
//! so that nobody ends up with one system's server and another's key.

use std::path::Path;

use super::up::{env_file, layout::Layout};
use crate::service::Service;
use crate::settings::{self, Environment, Invalid, Settings};

const NAMES_A_SYSTEM: [&str; 3] = ["CHATBUS_NATS_URL", "CHATBUS_DATABASE_URL", "CHATBUS_EDGE_URLS"];

/// This process's environment, completed by `up.env` unless it names a system itself.
pub fn read(data: &Path) -> Environment {
    let environment = settings::process_environment();
    if NAMES_A_SYSTEM.iter().any(|name| environment.contains_key(*name)) {
        return environment;
    }
    let up = std::fs::read_to_string(Layout::new(data).env_file()).unwrap_or_default();
    let mut merged: Environment = env_file::parse(&up).into_iter().collect();
    merged.extend(environment);
    merged
}

/// The settings of `ops` itself in that environment.
pub fn settings(data: &Path) -> Result<Settings, Invalid> {
    settings::load(Service::Ops, &read(data)).map(|loaded| loaded.settings)
}
