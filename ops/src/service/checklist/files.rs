//! Files with secrets in them: there, readable by their owner alone, and none of them twice.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Finding, Level, SECRET_FILES, variable};
use crate::settings::{Profile, Settings, names, table};

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let named = named(settings);
    let mut findings: Vec<Finding> =
        named.iter().filter_map(|(name, path)| judge(settings, name, path)).collect();
    for (at, (name, path)) in named.iter().enumerate() {
        let twin = named[..at].iter().find(|(_, other)| same(other, path));
        if let Some((other, _)) = twin {
            let text =
                format!("{} and {} are one secret: give each its own", variable(other), variable(name));
            findings.push(Finding::new(Level::Wrong, text));
        }
    }
    findings
}

/// Each setting with the file that holds its secret.
fn named(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let mine =
        |name: &&'static str| table::find(name).is_some_and(|s| s.services.contains(&settings.service()));
    let keys = SECRET_FILES.into_iter().filter(mine);
    let keys = keys.filter_map(|name| Some((name, settings.opt_path(name)?.to_owned())));
    keys.chain(settings.read_from_files()).collect()
}

fn judge(settings: &Settings, name: &str, path: &Path) -> Option<Finding> {
    let says =
        |level, fix: &str| Some(Finding::new(level, format!("{}={}: {fix}", variable(name), path.display())));
    let signs = [names::STAFF_KEY_FILE, names::VISITOR_KEY_FILE].contains(&name);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && signs => match settings.profile() {
            Profile::Development => says(Level::Note, "is not there, and is made at the first start"),
            Profile::Production => says(Level::Wrong, "is not there: make it with `ops secrets`"),
        },
        Err(error) => says(Level::Wrong, &format!("cannot be read: {error}")),
        Ok(about) if about.permissions().mode() & 0o077 == 0 => None,
        // The service refuses to sign with a key that others may read.
        Ok(_) if signs => says(Level::Wrong, "may be read by others: chmod 600 it"),
        Ok(_) => says(Level::Unsafe, "may be read by others: chmod 600 it"),
    }
}

/// Whether two files hold the same.
fn same(one: &Path, other: &Path) -> bool {
    let read = |path| fs::read(path).ok().filter(|bytes| !bytes.is_empty());
    one == other || read(one).is_some_and(|bytes| Some(bytes) == read(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    fn look_at(key: &Path, creds: &Path) -> Vec<Level> {
        let (key, creds) = (key.display().to_string(), creds.display().to_string());
        let pairs = [(names::VISITOR_KEY_FILE, key.as_str()), (names::NATS_CREDS_FILE, &creds)];
        let settings = Settings::from_pairs(Service::Edge, &pairs).unwrap();
        look(&settings).into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn files_that_are_missing_open_or_shared_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (key, creds) = (file("key", "a", 0o600), file("creds", "b", 0o600));
        assert_eq!(look_at(&key, &creds), []);
        assert_eq!(look_at(&dir.path().join("none"), &creds), [Level::Note]);
        assert_eq!(look_at(&key, &dir.path().join("none")), [Level::Wrong]);
        assert_eq!(look_at(&file("open", "c", 0o644), &creds), [Level::Wrong]);
        assert_eq!(look_at(&key, &file("open creds", "d", 0o640)), [Level::Unsafe]);
        assert_eq!(look_at(&key, &file("copy", "a", 0o600)), [Level::Wrong]);
    }
}
