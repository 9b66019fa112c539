//! The user that a server runs as when this process is root.
//!
//! Postgres refuses root, so its files and processes belong to `postgres`, or to `nobody` where there is none.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// An unprivileged user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

const NOBODY: User = User { uid: 65534, gid: 65534 };

impl User {
    /// Whom Postgres must run as; `None` when this process is not root and can run it itself.
    pub fn for_postgres() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(lookup(&passwd, "postgres").or_else(|| lookup(&passwd, "nobody")).unwrap_or(NOBODY))
    }
}

/// Whether this process has the rights of root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes `command` run as `user`, when there is one to change to.
pub fn run_as(command: &mut Command, user: Option<User>) {
    use std::os::unix::process::CommandExt;
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

/// Makes a directory that only `user` (or the caller) may look into.
pub fn private_dir(path: &Path, user: Option<User>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

fn lookup(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::{User, lookup};

    #[test]
    fn finds_a_user_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n";
        assert_eq!(lookup(passwd, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(lookup(passwd, "post"), None);
        assert_eq!(lookup("postgres:x:many:104::", "postgres"), None);
    }
}
