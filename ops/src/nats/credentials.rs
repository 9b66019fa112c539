//! Who this process is on the bus: a `.creds` file or a bare nkey seed.
//!
//! Invariant: no error says what stands in the file.

use std::{fs, path::Path};

use async_nats::ConnectOptions;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

const JWT_BEGIN: &str = "-----BEGIN NATS USER JWT-----";
const UNUSABLE: &str = "must hold a .creds file, or one line with a user's nkey seed (SU…): see ops secrets";

/// Adds what the file at `path` holds to `options`, or says what is wrong with it.
pub(super) fn add(options: ConnectOptions, path: &Path) -> Result<ConnectOptions, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let trimmed = text.trim();
    if trimmed.contains(JWT_BEGIN) {
        return options.credentials(&text).map_err(|_| "is no valid .creds file".to_owned());
    }
    match nkeys::KeyPair::from_seed(trimmed) {
        Ok(pair) if trimmed.starts_with("SU") && pair.key_pair_type() == nkeys::KeyPairType::User => {
            Ok(options.nkey(trimmed.to_owned()))
        }
        Ok(_) | Err(_) => Err(UNUSABLE.to_owned()),
    }
}

/// Who connects, with the server's nonce signed.
#[derive(Serialize)]
pub struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    sig: String,
}

impl Identity {
    /// Signs with the key in the file at `path`, which is read each time: it may have been rotated.
    pub fn sign(path: &Path, nonce: &[u8]) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        let mut lines = text.lines().map(str::trim);
        let jwt =
            lines.by_ref().find(|line| *line == JWT_BEGIN).and_then(|_| lines.next()).map(str::to_owned);
        let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU")).ok_or(UNUSABLE)?;
        let pair = nkeys::KeyPair::from_seed(seed).map_err(|_| UNUSABLE.to_owned())?;
        let signature = pair.sign(nonce).map_err(|_| UNUSABLE.to_owned())?;
        let nkey = jwt.is_none().then(|| pair.public_key());
        Ok(Self { jwt, nkey, sig: URL_SAFE_NO_PAD.encode(signature) })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_signs_as_its_public_key_and_a_creds_file_as_its_jwt() {
        let pair = nkeys::KeyPair::new_user();
        let (dir, nonce) = (tempfile::tempdir().unwrap(), b"nonce");
        let path = dir.path().join("user.nk");
        fs::write(&path, format!("{}\n", pair.seed().unwrap())).unwrap();
        let bare = Identity::sign(&path, nonce).unwrap();
        assert_eq!((bare.nkey.as_deref(), bare.jwt), (Some(pair.public_key().as_str()), None));
        pair.verify(nonce, &URL_SAFE_NO_PAD.decode(&bare.sig).unwrap()).unwrap();
        let seed = pair.seed().unwrap();
        let creds = format!(
            "{JWT_BEGIN}\neyJ0.x.y\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, creds).unwrap();
        let with_jwt = Identity::sign(&path, nonce).unwrap();
        assert_eq!((with_jwt.nkey, with_jwt.jwt.as_deref()), (None, Some("eyJ0.x.y")));
        fs::write(&path, "nonsense").unwrap();
        assert!(Identity::sign(&path, nonce).unwrap_err().contains("ops secrets"));
    }
}
