//! The bus: reached with this service's own credentials, with everything on it as services rely on it.

use std::time::Duration;

use super::{Finding, Level};
use crate::{
    log::Log,
    nats::{Bus, Durability, Options, check_durability, connect_with},
    provision::{self, Outcome, Plan},
    settings::{Settings, names},
};

/// A check is for people, who do not wait as long as a start does.
const WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let mut options = Options::from_settings(settings, settings.service().name());
    options.wait = options.wait.min(WAIT_MAX);
    match connect_with(options).await {
        Ok(bus) => {
            let mut findings = streams(settings, &bus).await;
            findings.extend(safety(settings, &bus).await);
            findings
        }
        Err(error) => vec![Finding::of_error(&error.into())],
    }
}

async fn streams(settings: &Settings, bus: &Bus) -> Vec<Finding> {
    let items = match provision::inspect(bus, &Plan::from_settings(settings)).await {
        Ok(items) => items,
        Err(error) => return vec![Finding::of_error(&error.into())],
    };
    let mut findings = Vec::new();
    for item in items {
        match item.outcome {
            Outcome::Missing => {
                let text = format!("stream {} is missing: run ops provision", item.stream);
                findings.push(Finding::new(Level::Unavailable, text));
            }
            Outcome::Differs(differences) => findings.extend(differences.iter().filter_map(|difference| {
                // More than was asked for is the operator's choice.
                let level = match difference.is_size() {
                    true if difference.widens => Level::Note,
                    true => return None,
                    false => Level::Unavailable,
                };
                Some(Finding::new(level, format!("stream {}: {difference}: run ops provision", item.stream)))
            })),
            Outcome::Created | Outcome::Same | Outcome::Changed(_) => {}
        }
    }
    findings
}

/// What a power cut, or the loss of a machine, would take with it.
async fn safety(settings: &Settings, bus: &Bus) -> Vec<Finding> {
    let Some(shard) = provision::shards(settings).first().copied() else { return Vec::new() };
    let log = Log::new(bus.clone(), shard);
    let mut findings = Vec::new();
    match check_durability(settings, &log).await {
        Ok(Durability::Synced | Durability::Replicated) => {}
        // In production an error: no service starts on it.
        Ok(Durability::Unsynced) => {
            let text = "a power cut loses what was acknowledged last: set jetstream { sync_interval: always }, \
                or provision 3 replicas";
            findings.push(Finding::new(Level::Unsafe, text));
        }
        Ok(Durability::Unknown) => {
            let name = super::variable(names::NATS_MONITOR_URL);
            let text = format!("whether a power cut loses what was acknowledged is not known: set {name}");
            findings.push(Finding::new(Level::Unsafe, text));
        }
        Err(error) => findings.push(Finding::of_error(&error.into())),
    }
    if log.end().await.is_ok_and(|end| end.replicas == 1) {
        let text = "the log has one replica: with the disk of that machine it is gone; 3 on three machines is the \
            production shape (CHATBUS_NATS_REPLICAS=3, ops provision)";
        findings.push(Finding::new(Level::Note, text));
    }
    findings
}
