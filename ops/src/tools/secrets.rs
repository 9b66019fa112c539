//! `ops secrets`: the keys and passwords of an installation, made once.
//!
//! What is there is kept; each file is readable by its owner alone, and nothing of it is printed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::out;
use super::up::{env_file::write_private, keys, layout, secrets};
use crate::auth::SigningKey;
use crate::provision;
use crate::service::Service;
use crate::settings;

const DATABASE: &str = "database";
const DATABASE_URL: &str = "database-url";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the files are
    #[arg(long, default_value_os_t = PathBuf::from(layout::DEFAULT_DIR).join("keys"))]
    dir: PathBuf,
    /// A database URL without a password; with a generated one it becomes the file `database-url`
    #[arg(long)]
    database: Option<String>,
    /// Put a new key for staff tokens in the place of the old one; running services go over to it by themselves
    #[arg(long)]
    rotate_staff: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::dev::user::private_dir(&args.dir, None)
        .with_context(|| format!("cannot use {}", args.dir.display()))?;
    let settings = settings::load(Service::Ops, &settings::process_environment())?.settings;
    keys::prepare(&args.dir, &provision::shards(&settings))?;
    if args.rotate_staff {
        SigningKey::replace(&args.dir.join(keys::STAFF))?;
    }
    if let Some(url) = &args.database {
        let password = secrets::keep(&args.dir, DATABASE)?;
        let url =
            with_password(url, &password).context("--database must be postgres://user@host/database")?;
        write_private(&args.dir.join(DATABASE_URL), &format!("{url}\n"))?;
    }
    let mut names: Vec<_> = std::fs::read_dir(&args.dir)?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.iter().for_each(|path| out::say(&path.display().to_string()));
    Ok(ExitCode::SUCCESS)
}

fn with_password(url: &str, password: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, host) = rest.split_once('@')?;
    (!user.contains(':')).then(|| format!("{scheme}://{user}:{password}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::with_password;

    #[test]
    fn the_password_goes_behind_the_user() {
        let url = with_password("postgres://chatbus@postgres:5432/chatbus", "p").unwrap();
        assert_eq!(url, "postgres://chatbus:p@postgres:5432/chatbus");
        assert_eq!(with_password("postgres://a:b@c/d", "p"), None);
        assert_eq!(with_password("postgres://c/d", "p"), None);
    }
}
