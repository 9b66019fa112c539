//! The command line every service has.
//!
//! Invariant: what is not understood is refused with the usage, never ignored.

use super::{Service, main::Extra};

/// What the process was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    ConfigCheck {
        /// Asks no server.
        offline: bool,
    },
    ConfigPrint,
    Healthcheck,
    Help,
    Version,
    /// An extra sub-command by its place in the table, and its arguments.
    Extra(usize, Vec<String>),
}

pub(super) fn parse(extras: &[Extra], args: impl Iterator<Item = String>) -> Result<Command, String> {
    let args: Vec<String> = args.collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        [] | ["run"] => Command::Run,
        ["config", "check"] => Command::ConfigCheck { offline: false },
        ["config", "check", "--offline"] => Command::ConfigCheck { offline: true },
        ["config", "print"] => Command::ConfigPrint,
        ["healthcheck"] => Command::Healthcheck,
        ["help" | "--help" | "-h"] => Command::Help,
        ["version" | "--version" | "-V"] => Command::Version,
        [first, ..] => match extras.iter().position(|extra| extra.name == *first) {
            Some(at) => Command::Extra(at, args[1..].to_vec()),
            None => return Err(format!("unknown command: {}", words.join(" "))),
        },
    })
}

pub(super) fn usage(service: Service, extras: &[Extra]) -> String {
    let mut lines = vec![
        ("run", "run the service (also without a command)"),
        ("config check", "check settings, files, bus and database, also for production [--offline]"),
        ("config print", "show the settings in force, secrets left out"),
        ("healthcheck", "exit 0 if the running process here is ready"),
    ];
    lines.extend(extras.iter().map(|extra| (extra.name, extra.doc)));
    let commands: String =
        lines.iter().map(|(name, doc)| format!("  {service} {name:<13} {doc}\n")).collect();
    format!("usage:\n{commands}\nSettings come from the environment: see docs/configuration.md\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let extras = [Extra::new("migrate", "migrate the schema", |_, _| Box::pin(async { Ok(()) }))];
        parse(&extras, line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_are_understood_and_others_refused() {
        assert_eq!(parsed(""), Ok(Command::Run));
        assert_eq!(parsed("run"), Ok(Command::Run));
        assert_eq!(parsed("config check"), Ok(Command::ConfigCheck { offline: false }));
        assert_eq!(parsed("config check --offline"), Ok(Command::ConfigCheck { offline: true }));
        assert_eq!(parsed("healthcheck"), Ok(Command::Healthcheck));
        assert_eq!(parsed("migrate --dry"), Ok(Command::Extra(0, vec!["--dry".to_owned()])));
        for wrong in ["rnu", "run twice", "config", "config chekc"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
