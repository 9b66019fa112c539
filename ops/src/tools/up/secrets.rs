//! Passwords that are made once and kept beside the keys.
//!
//! What is there is never made anew: data that was made with it would be lost.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret_file::{self, SecretFileError};

const BYTES: usize = 18;

/// The secret of this name, made now if it is not there.
pub fn keep(keys: &Path, name: &str) -> Result<String, SecretFileError> {
    let path = keys.join(name);
    if let Some(secret) = secret_file::read(&path)? {
        return Ok(secret.trim().to_owned());
    }
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>());
    secret_file::create(&path, &format!("{secret}\n"))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::keep;

    #[test]
    fn a_secret_is_made_once_and_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = keep(dir.path(), "database").unwrap();
        assert!(made.len() >= 24);
        assert_eq!(keep(dir.path(), "database").unwrap(), made);
        let another = tempfile::tempdir().unwrap();
        assert_ne!(keep(another.path(), "database").unwrap(), made, "no two installations share one");
        let mode = std::fs::metadata(dir.path().join("database")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
