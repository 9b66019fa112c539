//! The keys of an installation, made once and kept in one directory with mode 0600.
//!
//! What is there is used again: tokens that were signed with it stay good over a restart.

use std::io;
use std::path::{Path, PathBuf};

use bus_schema::Shard;

use super::env_file::write_private;
use crate::auth::{KeyError, SigningKey};
use crate::nats_users::{BusUser, UserError, server_config};
use crate::service::Service;

pub const STAFF: &str = "staff.pem";
pub const VISITOR: &str = "visitor.pem";
/// The users' part of the nats-server configuration, to be included in it.
pub const NATS_USERS: &str = "nats-users.conf";

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("make the signing keys")]
    Key(#[from] KeyError),
    #[error("make the bus users")]
    User(#[from] UserError),
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Makes what is missing, and answers with the nats-server configuration of a user for each service.
pub fn prepare(dir: &Path, shards: &[Shard]) -> Result<String, KeysError> {
    for name in [STAFF, VISITOR] {
        SigningKey::load_or_generate(&dir.join(name))?;
    }
    let users = Service::ALL.map(|service| BusUser::load_or_generate(service, &bus_seed(dir, service)));
    let users = users.into_iter().collect::<Result<Vec<_>, _>>()?;
    let config = server_config(&users, shards);
    let path = dir.join(NATS_USERS);
    write_private(&path, &config).map_err(|source| KeysError::Write { path, source })?;
    Ok(config)
}

/// The file that says who a service is on the bus.
pub fn bus_seed(dir: &Path, service: Service) -> PathBuf {
    dir.join(format!("nats-{service}.nk"))
}
