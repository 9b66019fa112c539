//! The running system that a command talks to: named by a file, by the environment, or by the usual directory.
//!
//! Values of the environment go before those of the usual directory's `up.env`; a file that is named goes before both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::out;
use super::up::{env_file, layout};
use crate::dev::guard::{Guarded, Signal, Spec};
use crate::nats::{Bus, Options, connect_with};
use crate::service::Unavailable;
use crate::settings::table::PREFIX;

/// A first start may have to fetch servers.
const UP_WITHIN: Duration = Duration::from_secs(300);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct TargetArgs {
    /// The `up.env` of the system to use
    #[arg(long = "env", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The directory that `ops up` was given
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA")]
    data: PathBuf,
}

/// How to reach a system.
#[derive(Debug, Clone, Default)]
pub struct Target {
    values: BTreeMap<String, String>,
    /// Read again for process ids, which change.
    file: Option<PathBuf>,
}

/// A system that this command started, and ends.
pub struct Started {
    pub target: Target,
    up: Guarded,
    _dir: tempfile::TempDir,
}

impl TargetArgs {
    /// The system that is named or running, if there is one.
    pub fn find(&self) -> anyhow::Result<Option<Target>> {
        self.find_by("EDGE_URLS")
    }

    /// What is named, if this of it is known.
    fn find_by(&self, needed: &str) -> anyhow::Result<Option<Target>> {
        if let Some(file) = &self.file {
            return Target::read(file).map(Some);
        }
        let usual = layout::Layout::new(&self.data).env_file();
        let mut target = if usual.exists() { Target::read(&usual)? } else { Target::default() };
        for (name, value) in
            std::env::vars().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        {
            target.values.insert(name, value);
        }
        Ok(target.opt(needed).is_some().then_some(target))
    }

    /// A bus at least, or how to get one.
    pub fn bus_at_least(&self) -> anyhow::Result<Target> {
        let missing = || {
            Unavailable::new(
                format!("no running system is named, and none runs in {}", self.data.display()),
                "start one with: sh ops/up.sh, or name its up.env with --env FILE",
            )
        };
        Ok(self.find_by("NATS_URL")?.ok_or_else(missing)?)
    }
}

impl Target {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let fix = "start it with: sh ops/up.sh";
            Unavailable::new(format!("{} cannot be read ({error})", file.display()), fix)
        })?;
        Ok(Self { file: Some(file.to_owned()), ..Self::of(&text) })
    }

    /// What an `up.env` of this text says.
    pub fn of(text: &str) -> Self {
        Self { values: env_file::parse(text).into_iter().collect(), file: None }
    }

    pub fn opt(&self, name: &str) -> Option<&str> {
        self.values.get(&format!("{PREFIX}{name}")).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn text(&self, name: &str) -> anyhow::Result<&str> {
        let fix = "name an up.env with --env FILE, or set it";
        Ok(self.opt(name).ok_or_else(|| Unavailable::new(format!("{PREFIX}{name} is not set"), fix))?)
    }

    pub fn edges(&self) -> anyhow::Result<Vec<String>> {
        let urls = self.text("EDGE_URLS")?.split(',').map(|url| url.trim().trim_end_matches('/').to_owned());
        Ok(urls.filter(|url| !url.is_empty()).collect())
    }

    pub fn admin(&self) -> anyhow::Result<&str> {
        Ok(self.text("ADMIN_URL")?.split(',').next().unwrap_or_default().trim_end_matches('/'))
    }

    /// What runs now, by name and process id.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let again = self.file.as_deref().and_then(|file| Self::read(file).ok());
        let pids = again.as_ref().unwrap_or(self).opt("PIDS").unwrap_or_default();
        let entry = |entry: &str| {
            let (name, pid) = entry.rsplit_once(':')?;
            Some((name.to_owned(), pid.parse().ok().filter(|pid| *pid != 0)?))
        };
        pids.split(',').filter_map(entry).collect()
    }

    /// Connects to the bus as this command.
    pub async fn bus(&self) -> anyhow::Result<Bus> {
        let mut options = Options::new(self.text("NATS_URL")?, "ops");
        options.credentials = self.opt("NATS_CREDS_FILE").map(PathBuf::from);
        Ok(connect_with(options).await?)
    }
}

impl Started {
    /// Runs `ops up` of this same program in a new directory, and waits until all of it is ready.
    pub async fn start(edges: u16, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("chatbus-").tempdir().context("cannot make a directory")?;
        // The database server runs as another user and has to reach its part of it.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let data = dir.path().join("data");
        let log = dir.path().join("up.log");
        out::note(&format!("no running system is named: starting one in {}", data.display()));
        let spec = Spec::new(std::env::current_exe()?)
            .args(["up", "--ports", "auto", "--edges", &edges.to_string(), "--data"])
            .arg(data.clone())
            .env(settings.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value)))
            .ending(Signal::INT, DOWN_WITHIN);
        let mut up = Guarded::spawn(&spec, &log)?;
        let file = layout::Layout::new(&data).env_file();
        let deadline = Instant::now() + UP_WITHIN;
        while !file.exists() {
            let ended = up.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let from = said.len().saturating_sub(4_000);
                let said = said.get(from..).unwrap_or_default();
                anyhow::bail!("the system did not come up (exit code {ended:?}); it said:\n{said}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { target: Target::read(&file)?, up, _dir: dir })
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.up.stop().await?;
        Ok(())
    }
}
