//! The keys of an `ops up`, made once and kept in `DIR/keys` with mode 0600.
//!
//! What is there is used again: tokens that were signed with it stay good over a restart.

use std::path::Path;

use crate::auth::{KeyError, SigningKey};

pub const STAFF: &str = "staff.pem";
pub const VISITOR: &str = "visitor.pem";

/// What the servers are told about the keys.
#[derive(Debug)]
pub struct Keys {
    /// The nats-server configuration of a user for each service.
    pub server_config: String,
}

pub fn prepare(keys: &Path) -> Result<Keys, KeyError> {
    for name in [STAFF, VISITOR] {
        SigningKey::load_or_generate(&keys.join(name))?;
    }
    Ok(Keys { server_config: String::new() })
}
