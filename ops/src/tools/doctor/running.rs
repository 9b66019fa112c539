//! How the servers and services are that run, here or where the environment points.
//!
//! What the environment says goes before what `up.env` says.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use rustix::process::{Pid, test_kill_process};
use tokio::time::timeout;

use super::Finding;
use crate::dev::servers::{NATS_VERSION_MIN, POSTGRES_VERSION_MIN};
use crate::dev::version::Version;
use crate::dev::{explain, probe};
use crate::tools::up::env_file::Values;

const WITHIN: Duration = Duration::from_secs(5);
/// What `/readyz` tolerates between a process's clock and the bus's.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(2);

/// Whether any process of this `up.env` is still there.
pub fn is_alive(values: &Values) -> bool {
    let pids = values.iter().find(|(name, _)| name == "CHATBUS_PIDS").map_or("", |(_, pids)| pids);
    let mut pids = pids.split(',').filter_map(|entry| entry.rsplit(':').next()?.parse().ok());
    pids.any(|pid: i32| Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()))
}

/// All findings about what runs; none when nothing is named.
pub async fn look(up: Option<&Values>) -> Vec<Finding> {
    let value = |name: &str| {
        let name = format!("CHATBUS_{name}");
        let of_up = || Some(up?.iter().find(|(n, _)| *n == name)?.1.clone());
        std::env::var(&name).ok().filter(|value| !value.is_empty()).or_else(of_up)
    };
    let mut findings = Vec::new();
    if let Some(url) = value("NATS_MONITOR_URL") {
        findings.extend(nats(&url).await);
    }
    if let Some(url) = value("DATABASE_URL") {
        findings.push(postgres(&url).await);
    }
    for kind in ["EDGE", "ROUTER", "PERSISTER", "ADMIN_API"] {
        for url in
            value(&format!("{kind}_OPS_URLS")).unwrap_or_default().split(',').filter(|url| !url.is_empty())
        {
            findings.push(service(&kind.to_lowercase().replace('_', "-"), url).await);
        }
    }
    findings
}

async fn nats(monitor: &str) -> Vec<Finding> {
    let fix = "start it, or set CHATBUS_NATS_MONITOR_URL to where it answers";
    let answer = match get(monitor, "/varz").await {
        Ok(answer) => answer,
        Err(error) => return vec![Finding::broken("NATS", format!("{monitor}: {error}"), fix)],
    };
    let varz: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let version = varz["version"].as_str().unwrap_or("unknown");
    let mut findings = vec![match Version::find(version) {
        Some(found) if found >= NATS_VERSION_MIN => Finding::fine("NATS", format!("{version} at {monitor}")),
        _ => Finding::broken(
            "NATS",
            format!("{version} at {monitor}"),
            format!("upgrade it to {NATS_VERSION_MIN} or newer"),
        ),
    }];
    findings.push(jetstream(&varz));
    findings.extend(clock(varz["now"].as_str(), SystemTime::now()));
    findings
}

fn jetstream(varz: &serde_json::Value) -> Finding {
    let Some(config) = varz["jetstream"].get("config").filter(|config| !config.is_null()) else {
        return Finding::broken("JetStream", "off", "start nats-server with -js and a store directory");
    };
    if config["sync_always"] == true {
        return Finding::fine(
            "JetStream",
            "each message is on disk before it is acknowledged (sync_interval: always)",
        );
    }
    let found =
        "acknowledged messages survive kill -9, but not a power cut on one server (sync_interval: default)";
    Finding::warning(
        "JetStream",
        found,
        "set sync_interval: always, or ops up --sync always; or three replicas",
    )
}

fn clock(server: Option<&str>, here: SystemTime) -> Option<Finding> {
    let server: SystemTime = DateTime::parse_from_rfc3339(server?).ok()?.into();
    let apart = here.duration_since(server).unwrap_or_else(|early| early.duration());
    let found = format!("{} ms apart from the bus's", apart.as_millis());
    Some(if apart <= CLOCKS_APART_MAX {
        Finding::fine("clock", found)
    } else {
        Finding::broken("clock", found, "let both machines keep time by NTP")
    })
}

async fn postgres(url: &str) -> Finding {
    let fix = "start it, or set CHATBUS_DATABASE_URL to where it answers";
    let version = async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        let row = client.query_one("SHOW server_version", &[]).await?;
        drop(client);
        let _ = connection.await;
        Ok::<String, tokio_postgres::Error>(row.get(0))
    };
    match timeout(WITHIN, version).await {
        Ok(Ok(version)) if Version::find(&version).is_some_and(|found| found >= POSTGRES_VERSION_MIN) => {
            Finding::fine("Postgres", version)
        }
        Ok(Ok(version)) => {
            Finding::broken("Postgres", version, format!("upgrade it to {POSTGRES_VERSION_MIN} or newer"))
        }
        Ok(Err(error)) => Finding::broken("Postgres", explain(&error), fix),
        Err(_) => Finding::broken("Postgres", "no answer", fix),
    }
}

async fn service(name: &str, url: &str) -> Finding {
    match get(url, "/readyz?verbose").await {
        Ok(answer) if answer.is_ok() => Finding::fine(name, format!("ready at {url}")),
        Ok(answer) => Finding::broken(name, answer.body.trim().to_owned(), "see its log"),
        Err(error) => Finding::broken(name, format!("{url}: {error}"), "see its log; ops up starts it again"),
    }
}

async fn get(url: &str, path: &str) -> std::io::Result<probe::Answer> {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let mut addresses = timeout(WITHIN, tokio::net::lookup_host(authority)).await??;
    let address = addresses.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    probe::get(address, path).await
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn clocks_that_differ_are_broken() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(clock(Some("1970-01-01T00:01:39Z"), here).unwrap().status, Status::Fine);
        assert_eq!(clock(Some("1970-01-01T00:01:50Z"), here).unwrap().status, Status::Broken);
        assert_eq!(clock(None, here), None);
    }

    #[test]
    fn the_sync_setting_is_told() {
        let varz = |sync| serde_json::json!({ "jetstream": { "config": { "sync_always": sync } } });
        assert_eq!(jetstream(&varz(true)).status, Status::Fine);
        assert_eq!(jetstream(&varz(false)).status, Status::Warning);
        assert_eq!(jetstream(&serde_json::json!({})).status, Status::Broken);
    }
}
