//! Files that hold a secret.
//!
//! Invariant: readable by their owner alone from the moment they exist, and whole whenever they have their name.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A secret is no longer than this.
const BYTES_MAX: u64 = 16 * 1024;
/// Owner alone.
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} may be read by others: chmod 600 it")]
    TooOpen { path: PathBuf },
    #[error("{path} is larger than a secret can be")]
    TooLarge { path: PathBuf },
}

/// The file's text; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, SecretFileError> {
    let failed = |source| SecretFileError::Read { path: path.to_owned(), source };
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if about.permissions().mode() & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.to_owned() });
    }
    if about.len() > BYTES_MAX {
        return Err(SecretFileError::TooLarge { path: path.to_owned() });
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

/// Makes the file, unless there is one by now: false. Of several at once exactly one makes it.
pub(crate) fn create(path: &Path, text: &str) -> Result<bool, SecretFileError> {
    // Written beside it and linked into place, so that nobody reads half of it.
    place(path, text, |beside| match fs::hard_link(beside, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    })
}

/// Makes the file, in the place of one that is there: who reads it gets the old or the new one, whole.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), SecretFileError> {
    place(path, text, |beside| fs::rename(beside, path))
}

fn place<T>(path: &Path, text: &str, put: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, SecretFileError> {
    let failed = |source| SecretFileError::Write { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let beside = path.with_extension(format!("{}.new", uuid::Uuid::now_v7().simple()));
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| put(&beside));
    let _ = fs::remove_file(&beside);
    placed.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/a");
        assert!(read(&path).unwrap().is_none());
        assert!(create(&path, "one").unwrap());
        assert!(!create(&path, "two").unwrap());
        assert_eq!(read(&path).unwrap().as_deref(), Some("one"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read(&path), Err(SecretFileError::TooOpen { .. })));
    }
}
