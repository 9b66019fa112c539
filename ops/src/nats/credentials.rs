//! Who this process is on the bus: a `.creds` file or a bare nkey seed.
//!
//! Invariant: no error says what stands in the file.

use std::{fs, path::Path};

use async_nats::ConnectOptions;

/// Adds what the file at `path` holds to `options`, or says what is wrong with it.
pub(super) fn add(options: ConnectOptions, path: &Path) -> Result<ConnectOptions, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let trimmed = text.trim();
    if trimmed.contains("-----BEGIN NATS USER JWT-----") {
        return options.credentials(&text).map_err(|_| "is no valid .creds file".to_owned());
    }
    match nkeys::KeyPair::from_seed(trimmed) {
        Ok(pair) if trimmed.starts_with("SU") && pair.key_pair_type() == nkeys::KeyPairType::User => {
            Ok(options.nkey(trimmed.to_owned()))
        }
        Ok(_) | Err(_) => {
            Err("must hold a .creds file, or one line with a user's nkey seed (SU…): see ops secrets"
                .to_owned())
        }
    }
}
