//! What is where in the directory of an `ops up`.
//!
//! Only paths named here are ever removed, whatever directory was given.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dev::servers::Search;
use crate::dev::user::{self, User};
use crate::service::Unavailable;

pub const DEFAULT_DIR: &str = ".chatbus";

/// The directory and its parts.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
    postgres: PathBuf,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("cannot use {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use {path}")]
    Unavailable {
        path: PathBuf,
        #[source]
        source: Unavailable,
    },
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let postgres = dir.join("postgres");
        Self { dir, postgres }
    }

    /// Makes the directories, and holds the lock for as long as the file lives.
    pub fn prepare(&mut self, fresh: bool, replicas: &str) -> Result<File, LayoutError> {
        let failed = |source| LayoutError::Io { path: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let lock = File::create(self.dir.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| {
            self.unavailable("another ops up runs there", "stop it, or give another directory with --data")
        })?;
        let user = User::for_postgres();
        if !can_enter(&self.dir, user) {
            self.postgres = elsewhere(&self.dir);
        }
        let _ = fs::remove_file(self.env_file());
        if fresh {
            self.remove_all().map_err(failed)?;
        }
        self.check_replicas(replicas)?;
        for dir in [self.logs(), self.cache()] {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        user::private_dir(&self.keys(), None).map_err(failed)?;
        if let Some(parent) = self.postgres.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        Ok(lock)
    }

    /// One server does not find what three stored, nor the other way round.
    fn check_replicas(&self, replicas: &str) -> Result<(), LayoutError> {
        let path = self.dir.join("nats-replicas");
        match fs::read_to_string(&path) {
            Ok(before) if before.trim() != replicas && self.nats(0).exists() => {
                let what = format!("its data was stored with --nats-replicas {}", before.trim());
                let fix = "give the same again, or --fresh to throw the data away";
                Err(self.unavailable(&what, fix))
            }
            _ => fs::write(&path, format!("{replicas}\n")).map_err(|source| LayoutError::Io { path, source }),
        }
    }

    fn unavailable(&self, what: &str, fix: &str) -> LayoutError {
        LayoutError::Unavailable { path: self.dir.clone(), source: Unavailable::new(what, fix) }
    }

    fn remove_all(&self) -> io::Result<()> {
        let nats = (0..3).map(|index| self.nats(index));
        for path in [self.keys(), self.logs(), self.cache(), self.postgres.clone()].into_iter().chain(nats) {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn env_file(&self) -> PathBuf {
        self.dir.join("up.env")
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    pub fn nats(&self, index: usize) -> PathBuf {
        self.dir.join(format!("nats-{index}"))
    }

    pub fn postgres(&self) -> &Path {
        &self.postgres
    }
}

/// Whether the user that Postgres runs as gets into `dir`, which root's home for one does not let it.
fn can_enter(dir: &Path, user: Option<User>) -> bool {
    if user.is_none() {
        return true;
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cd -- \"$1\"", "sh"]).arg(dir).current_dir("/").stderr(Stdio::null());
    user::run_as(&mut command, user);
    command.status().is_ok_and(|status| status.success())
}

/// A place for the same directory's Postgres that everybody gets into.
fn elsewhere(dir: &Path) -> PathBuf {
    let mut hash = DefaultHasher::new();
    dir.hash(&mut hash);
    let cache = Search::from_env().cache;
    let _ = fs::create_dir_all(&cache);
    let _ = fs::set_permissions(&cache, fs::Permissions::from_mode(0o755));
    cache.join("data").join(format!("{:016x}", hash.finish())).join("postgres")
}
