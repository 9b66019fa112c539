//! `<service> config check`: what is wrong with this environment, and what would be unsafe in production.
//!
//! Invariant: it changes nothing, shows no secret, and finds everything it can in one run.

mod bus;
mod files;

use std::{fmt, future::Future, pin::Pin};

use super::exit;
use crate::settings::{Profile, Settings, names, unsafe_settings};

/// Further checks that only one service can make.
pub type Further = fn(Settings) -> Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something to know before going to production.
    Note,
    /// Good enough for development alone.
    Unsafe,
    /// A server that is needed is missing, or is not as it should be.
    Unavailable,
    /// A setting or a file with which the service does not start.
    Wrong,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    pub text: String,
}

impl Finding {
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, text: text.into() }
    }

    /// An error of a check: a missing server, unless it says otherwise.
    pub fn of_error(error: &anyhow::Error) -> Self {
        let level = match exit::code_of(error) {
            exit::BAD_CONFIGURATION => Level::Wrong,
            _ => Level::Unavailable,
        };
        Self::new(level, format!("{error:#}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Unsafe => "unsafe",
            Level::Unavailable => "unavailable",
            Level::Wrong => "wrong",
        };
        write!(f, "{level}: {}", self.text)
    }
}

/// What shows without asking any server.
pub(super) fn offline(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.profile() == Profile::Development {
        let text = "the development profile takes settings that production refuses; they are listed here";
        findings.push(Finding::new(Level::Note, text));
        let refused = unsafe_settings(settings);
        findings.extend(refused.iter().map(|problem| Finding::new(Level::Unsafe, problem.to_string())));
    }
    findings.extend(files::look(settings));
    findings
}

/// What the servers say.
pub(super) async fn reach(settings: &Settings, further: Option<Further>) -> Vec<Finding> {
    let mut findings = bus::look(settings).await;
    if let Some(further) = further {
        findings.extend(further(settings.clone()).await);
    }
    findings
}

/// The exit code: what is unsafe counts where the profile says production.
pub(super) fn code(settings: &Settings, findings: &[Finding]) -> u8 {
    let production = settings.profile() == Profile::Production;
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Wrong) => exit::BAD_CONFIGURATION,
        Some(Level::Unavailable) => exit::UNAVAILABLE,
        Some(Level::Unsafe) if production => exit::BAD_CONFIGURATION,
        Some(Level::Unsafe | Level::Note) | None => exit::CLEAN,
    }
}

/// All of it, the worst first, and the sum.
pub(super) fn report(mut findings: Vec<Finding>) -> String {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let mut out: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (wrong, away) = (count(Level::Wrong), count(Level::Unavailable));
    out.push_str(&match wrong + away {
        0 => "the settings are valid".to_owned(),
        _ => format!("{wrong} wrong, {away} unavailable"),
    });
    out.push_str(&format!(
        "; {} unsafe in production, {} to note\n",
        count(Level::Unsafe),
        count(Level::Note)
    ));
    out
}

/// The variable of a setting.
fn variable(name: &str) -> String {
    format!("{}{name}", crate::settings::table::PREFIX)
}

/// Settings that name a file with a secret in it.
const SECRET_FILES: [&str; 3] = [names::STAFF_KEY_FILE, names::VISITOR_KEY_FILE, names::NATS_CREDS_FILE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    #[test]
    fn the_worst_finding_decides_and_production_counts_what_is_unsafe() {
        let development = Settings::from_pairs(Service::Router, &[]).unwrap();
        let production = Settings::from_pairs(
            Service::Router,
            &[
                (names::PROFILE, "production"),
                (names::NATS_URL, "tls://bus:4222"),
                (names::NATS_CREDS_FILE, "/run/secrets/nats"),
            ],
        )
        .unwrap();
        let of = |levels: &[Level]| levels.iter().map(|level| Finding::new(*level, "x")).collect::<Vec<_>>();
        for (settings, levels, expected) in [
            (&development, &[][..], exit::CLEAN),
            (&development, &[Level::Unsafe, Level::Note], exit::CLEAN),
            (&production, &[Level::Note], exit::CLEAN),
            (&production, &[Level::Unsafe, Level::Note], exit::BAD_CONFIGURATION),
            (&development, &[Level::Unavailable, Level::Note], exit::UNAVAILABLE),
            (&development, &[Level::Unavailable, Level::Wrong], exit::BAD_CONFIGURATION),
        ] {
            assert_eq!(code(settings, &of(levels)), expected, "{levels:?}");
        }
    }
}
