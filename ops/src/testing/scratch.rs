//! Temporary directories that are removed even when the process is killed.
//!
//! All of a process's directories are under one, which a sweeper removes once this process is gone.
//! `CHATBUS_KEEP=1` keeps them for a look at the logs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Waits for the end of the process that holds the other end of its input, then for its servers to be gone.
const SWEEPER: &str = r#"
read -r _
n=0
while [ "$n" -lt 20 ] && [ -e "$1" ]; do rm -rf -- "$1"; sleep 1; n=$((n + 1)); done 2>/dev/null
"#;

static ROOT: OnceLock<Root> = OnceLock::new();

/// A directory for one server or test, removed when dropped.
#[derive(Debug)]
pub struct Scratch(Kept);

#[derive(Debug)]
enum Kept {
    Removed(TempDir),
    Kept(PathBuf),
}

impl Scratch {
    /// Makes a directory whose name starts with `prefix`.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let root = root();
        let dir = tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(&root.path)?;
        // The user that Postgres runs as must get through to what it owns below.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self(if root.sweeper.is_some() { Kept::Removed(dir) } else { Kept::Kept(dir.keep()) }))
    }

    pub fn path(&self) -> &Path {
        match &self.0 {
            Kept::Removed(dir) => dir.path(),
            Kept::Kept(path) => path,
        }
    }
}

struct Root {
    path: PathBuf,
    /// Its input closes with this process.
    sweeper: Option<Child>,
}

fn root() -> &'static Root {
    ROOT.get_or_init(|| {
        let path = tempfile::Builder::new()
            .prefix("chatbus-test-")
            .tempdir()
            .expect("the temporary directory is writable");
        let path = path.keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a directory made here is ours");
        let keep = std::env::var_os("CHATBUS_KEEP").is_some_and(|value| value == "1");
        let sweeper = (!keep).then(|| sweeper(&path).expect("/bin/sh runs"));
        Root { path, sweeper }
    })
}

fn sweeper(root: &Path) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(SWEEPER).arg("chatbus-sweeper").arg(root);
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
