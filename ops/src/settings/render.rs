//! What people read about settings: `.env.example`, the documentation, and `config print`.
//!
//! Invariant: made from the table alone; the committed files are compared with it by a test.

use std::fmt::Write as _;

use super::{
    Settings,
    table::{self, Default, Listener, SETTINGS, Setting},
};
use crate::service::Service;

/// The text of `.env.example`.
pub fn env_example() -> String {
    let mut out = String::from(
        "# Every setting, with its default. Generated from ops/src/settings/table.rs: edit that, then run\n\
         #   UPDATE=1 cargo test -p ops settings\n",
    );
    each_section(|section, settings| {
        let _ = write!(out, "\n# --- {section}\n");
        for setting in settings {
            let _ = write!(
                out,
                "\n# {}\n# Used by {}. Must be {}.\n",
                setting.doc,
                services(setting),
                setting.kind.hint()
            );
            if setting.secret {
                let _ = writeln!(out, "# A secret: may be given as {}_FILE instead.", setting.variable());
            }
            match (setting.default, default(setting)) {
                (Default::Is(text), _) => drop(writeln!(out, "#{}={text}", setting.variable())),
                (_, None) => drop(writeln!(out, "#{}=", setting.variable())),
                (_, Some(text)) => drop(writeln!(out, "# Default: {text}.\n#{}=", setting.variable())),
            }
        }
    });
    out
}

/// The text of `docs/configuration.md`.
pub fn configuration_md() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Generated from ops/src/settings/table.rs: edit that, then run UPDATE=1 cargo test -p ops settings -->\n\n\
         Settings come from the environment alone. All are checked at start, together: what is wrong is listed with its\n\
         variable, the source of its value and what would be right, and the process exits with 64. Secrets may be given as\n\
         a file by the same name with `_FILE` behind it. `<service> config check` checks them and what\n\
         they lead to (docs/deployment.md); `<service> config print` shows what is in force and where each value came from,\n\
         secrets left out.\n\n\
         The production profile also refuses unsafe settings. *Decide* marks what it will not leave at the default.\n",
    );
    each_section(|section, settings| {
        let _ =
            write!(out, "\n## {section}\n\n| variable | default | used by | meaning |\n|---|---|---|---|\n");
        for setting in settings {
            let default = default(setting).map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
            let default = if default == "``" { "empty".to_owned() } else { default };
            let decide = if setting.decide { " *Decide.*" } else { "" };
            let secret = if setting.secret { " *Secret.*" } else { "" };
            let _ = writeln!(
                out,
                "| `{}` | {default} | {} | {} Must be {}.{secret}{decide} |",
                setting.variable(),
                services(setting),
                setting.doc,
                setting.kind.hint()
            );
        }
    });
    out.push_str(
        "\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | clean |\n| 1 | the drain deadline passed |\n\
         | 64 | bad configuration |\n| 69 | a needed server is missing or too old |\n| 70 | internal error |\n",
    );
    out
}

/// What is in force, with sources, secrets left out.
pub fn print(settings: &Settings) -> String {
    let mut out = String::new();
    for setting in SETTINGS.iter().filter(|setting| setting.services.contains(&settings.service)) {
        let _ = match settings.values.get(setting.name) {
            Some(given) => writeln!(out, "{}={}  # {}", setting.variable(), given.value, given.source),
            None => writeln!(out, "#{}=  # not set", setting.variable()),
        };
    }
    out
}

fn each_section(mut with: impl FnMut(&str, &[Setting])) {
    for run in SETTINGS.chunk_by(|a, b| a.section == b.section) {
        with(run[0].section, run);
    }
}

fn services(setting: &Setting) -> String {
    if setting.services.len() == Service::ALL.len() {
        return "all".to_owned();
    }
    setting.services.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}

fn default(setting: &Setting) -> Option<String> {
    match setting.default {
        Default::None => None,
        Default::Is(text) => Some(text.to_owned()),
        Default::Profile { development, production } => {
            Some(format!("{development}, in production {production}"))
        }
        Default::Port(listener) => Some(ports(setting, listener)),
    }
}

fn ports(setting: &Setting, listener: Listener) -> String {
    let port = |service: &Service| format!("{service} 127.0.0.1:{}", table::port(*service, listener, 0));
    format!("{}, plus 10 for each instance", setting.services.iter().map(port).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::names, testing::held_to};

    const COMMAND: &str = "cargo test -p ops --lib settings";

    #[test]
    fn the_committed_env_example_is_what_the_table_says() {
        held_to(".env.example", &env_example(), COMMAND);
    }

    #[test]
    fn the_committed_documentation_is_what_the_table_says() {
        held_to("docs/configuration.md", &configuration_md(), COMMAND);
    }

    #[test]
    fn printing_shows_sources_and_hides_secrets() {
        let settings =
            Settings::from_pairs(Service::Persister, &[(names::DATABASE_URL, "postgres://me:hunter2@db/x")])
                .unwrap();
        let text = print(&settings);
        assert!(text.contains("CHATBUS_DATABASE_URL=(secret)  # environment"), "{text}");
        assert!(text.contains("CHATBUS_GRACE_MS=10000  # default"), "{text}");
        assert!(text.contains("#CHATBUS_NATS_CREDS_FILE=  # not set"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
