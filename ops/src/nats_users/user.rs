//! A bus user's key.
//!
//! Invariant: the server is told the public half alone; the seed stays in a file of the service's own.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use nkeys::KeyPair;

use crate::{
    secret_file::{self, SecretFileError},
    service::Service,
};

/// A service's user on the bus.
#[derive(Clone)]
pub struct BusUser {
    pub service: Service,
    public: String,
    seed: String,
}

impl fmt::Debug for BusUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusUser({}, {})", self.service, self.public)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("keep the bus user's key")]
    File(#[source] SecretFileError),
    #[error("{path} holds no user's nkey seed")]
    NotASeed { path: PathBuf },
}

impl BusUser {
    /// Reads the seed in the file at `path`, or makes one there if there is no file.
    pub fn load_or_generate(service: Service, path: &Path) -> Result<Self, UserError> {
        if let Some(user) = Self::load(service, path)? {
            return Ok(user);
        }
        let seed = KeyPair::new_user().seed().expect("a pair that was just made has a seed");
        secret_file::create(path, &format!("{seed}\n")).map_err(UserError::File)?;
        Self::load(service, path)?.ok_or_else(|| UserError::NotASeed { path: path.to_owned() })
    }

    fn load(service: Service, path: &Path) -> Result<Option<Self>, UserError> {
        let Some(text) = secret_file::read(path).map_err(UserError::File)? else { return Ok(None) };
        let seed = text.trim().to_owned();
        match KeyPair::from_seed(&seed) {
            Ok(pair) if seed.starts_with("SU") => Ok(Some(Self { service, public: pair.public_key(), seed })),
            Ok(_) | Err(_) => Err(UserError::NotASeed { path: path.to_owned() }),
        }
    }

    /// What the server knows the user by.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The secret half.
    pub fn seed(&self) -> &str {
        &self.seed
    }
}
