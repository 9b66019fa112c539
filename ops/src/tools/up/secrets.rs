//! Passwords that `ops up` makes once and keeps in `DIR/keys`.
//!
//! What is there is never made anew: data that was made with it would be lost.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::env_file::write_private;

const BYTES: usize = 18;

/// The secret of this name, made now if it is not there.
pub fn keep(keys: &Path, name: &str) -> io::Result<String> {
    let path = keys.join(name);
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>());
            write_private(&path, &format!("{secret}\n"))?;
            Ok(secret)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = keep(dir.path(), "database").unwrap();
        assert!(made.len() >= 24);
        assert_eq!(keep(dir.path(), "database").unwrap(), made);
        let mode = fs::metadata(dir.path().join("database")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
