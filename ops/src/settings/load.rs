//! Reads and checks a whole environment at once.
//!
//! Invariant: reports every problem there is, not the first; touches nothing but the map it is given and the
//! files that `…_FILE` variables name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use super::{
    Given, Invalid, Problem, Settings, Source, names,
    nearest::nearest,
    safety,
    table::{self, Default, PREFIX, SETTINGS, Setting},
    value::{Kind, Value},
};
use crate::service::Service;

/// Variables and their values.
pub type Environment = BTreeMap<String, String>;

/// Valid settings, and what is odd but not wrong.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<String>,
}

/// A file with a secret is no longer than this.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The process's own environment; a value that is not UTF-8 is kept readable enough to be refused.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// Validates `environment` for `service`.
pub fn load(service: Service, environment: &Environment) -> Result<Loaded, Invalid> {
    let mut problems = Vec::new();
    let mut values = BTreeMap::new();
    let profile =
        environment.get(&format!("{PREFIX}{}", names::PROFILE)).map_or("development", String::as_str);
    let instance = instance(environment);
    for setting in SETTINGS.iter().filter(|setting| setting.services.contains(&service)) {
        let found = match given(setting, environment) {
            Ok(Some((text, source))) => read(setting, &text, source).map(Some),
            Ok(None) => Ok(default(setting, service, profile, instance)),
            Err(problem) => Err(problem),
        };
        match found {
            Ok(Some(given)) => drop(values.insert(setting.name, given)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let settings = Settings { service, values: Arc::new(values) };
    // A profile that does not even parse is a problem of its own, listed above.
    if profile == "production" {
        problems.extend(safety::unsafe_settings(&settings));
    }
    if problems.is_empty() {
        Ok(Loaded { settings, warnings: unknown(environment) })
    } else {
        Err(Invalid(problems))
    }
}

/// The text given for a setting; an empty variable counts as not given, as compose files leave them.
fn given(setting: &Setting, environment: &Environment) -> Result<Option<(String, Source)>, Problem> {
    let variable = setting.variable();
    let direct = environment.get(&variable).filter(|text| !text.is_empty());
    let file_variable = format!("{variable}_FILE");
    let file =
        if setting.secret { environment.get(&file_variable).filter(|path| !path.is_empty()) } else { None };
    match (direct, file) {
        (Some(_), Some(path)) => Err(Problem {
            variable,
            shown: None,
            source: Source::Environment,
            fix: format!("is given twice, also by {file_variable}={path}; remove one of them"),
        }),
        (Some(text), None) => Ok(Some((text.clone(), Source::Environment))),
        (None, Some(path)) => match read_secret_file(path) {
            Ok(text) => Ok(Some((text, Source::File(path.clone())))),
            Err(fix) => Err(Problem {
                variable: file_variable,
                shown: Some(path.clone()),
                source: Source::Environment,
                fix,
            }),
        },
        (None, None) => Ok(None),
    }
}

fn read_secret_file(path: &str) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > SECRET_FILE_BYTES_MAX {
        return Err(format!(
            "is larger than {SECRET_FILE_BYTES_MAX} bytes; name a file that holds only the secret"
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err("is empty; write the secret into it".to_owned()) } else { Ok(text.to_owned()) }
}

fn read(setting: &Setting, text: &str, source: Source) -> Result<Given, Problem> {
    match setting.kind.read(text, setting.secret) {
        Ok(value) => Ok(Given { value, source }),
        Err(hint) => Err(Problem {
            variable: setting.variable(),
            shown: (!setting.secret).then(|| text.to_owned()),
            source,
            fix: format!("must be {hint}"),
        }),
    }
}

fn default(setting: &Setting, service: Service, profile: &str, instance: u16) -> Option<Given> {
    let text = match setting.default {
        Default::None => return None,
        Default::Is(text) => text,
        Default::Profile { production, .. } if profile == "production" => production,
        Default::Profile { development, .. } => development,
        Default::Port(listener) => {
            let addr = ([127, 0, 0, 1], table::port(service, listener, instance)).into();
            return Some(Given { value: Value::Addr(addr), source: Source::Default });
        }
    };
    let value = setting.kind.read(text, setting.secret).expect("defaults are tested to be valid");
    Some(Given { value, source: Source::Default })
}

/// Read ahead of the table because default ports depend on it; a bad one is reported by the table.
fn instance(environment: &Environment) -> u16 {
    let text = environment.get(&format!("{PREFIX}{}", names::INSTANCE)).map_or("0", String::as_str);
    match Kind::Int(0, table::INSTANCE_MAX).read(text, false) {
        Ok(Value::Int(number)) => u16::try_from(number).unwrap_or(0),
        Ok(_) | Err(_) => 0,
    }
}

fn unknown(environment: &Environment) -> Vec<String> {
    let known: BTreeSet<String> = SETTINGS
        .iter()
        .flat_map(|setting| {
            let file = setting.secret.then(|| format!("{}_FILE", setting.name));
            [Some(setting.name.to_owned()), file].into_iter().flatten()
        })
        .chain(table::NOT_SETTINGS.iter().map(|name| (*name).to_owned()))
        .collect();
    environment
        .keys()
        .filter_map(|variable| variable.strip_prefix(PREFIX))
        .filter(|name| !known.contains(*name) && !name.starts_with("TEST_"))
        .map(|name| match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("{PREFIX}{name} is not a setting; was {PREFIX}{meant} meant?"),
            None => format!("{PREFIX}{name} is not a setting and is ignored"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect()
    }

    fn problems(service: Service, pairs: &[(&str, &str)]) -> Vec<String> {
        load(service, &environment(pairs))
            .unwrap_err()
            .0
            .iter()
            .map(|problem| problem.variable.clone())
            .collect()
    }

    #[test]
    fn every_problem_is_reported_at_once_with_source_and_fix() {
        let invalid = load(
            Service::Edge,
            &environment(&[
                ("LISTEN", "banana"),
                ("GRACE_MS", "soon"),
                ("PROFILE", "staging"),
                ("INSTANCE", "x"),
            ]),
        )
        .unwrap_err();
        assert_eq!(invalid.0.len(), 4);
        let text = invalid.to_string();
        assert!(text.starts_with("4 settings are wrong\n"), "{text}");
        let line =
            "CHATBUS_LISTEN=banana (from: environment): must be an address and port such as 127.0.0.1:7700";
        assert!(text.contains(line), "{text}");
    }

    /// Texts that are of no such kind, and too much for it.
    fn wrong(kind: Kind) -> Vec<String> {
        let words: &[&str] = match kind {
            // Any text is right.
            Kind::Text | Kind::List => &[],
            Kind::OneOf(_) => &["none of them", "DEVELOPMENT"],
            Kind::Url(_) | Kind::Urls(_) => &["host", "gopher://host", "nats://", "nats://a b", "tls://a,,"],
            Kind::Addr => &["banana", "127.0.0.1", "127.0.0.1:65536", "localhost:80"],
            Kind::Millis | Kind::Int(..) => &["soon", "-1", "1.5", "1e3", "18446744073709551616"],
            Kind::Bool => &["yes", "1", "TRUE"],
            Kind::Ints => &["x", "-1", "65536", "1;2"],
            Kind::Networks => &["10.0.0.0/33", "everywhere"],
            Kind::Path => &["a\0b"],
        };
        let mut wrong: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match kind {
            Kind::Millis => wrong.push("86400001".to_owned()),
            Kind::Int(least, most) => {
                wrong.extend(least.checked_sub(1).map(|less| less.to_string()));
                wrong.extend(most.checked_add(1).map(|more| more.to_string()));
            }
            _ => {}
        }
        wrong
    }

    #[test]
    fn every_setting_of_every_service_is_refused_by_name_when_it_is_malformed_or_too_large() {
        let mut tried = 0;
        for setting in SETTINGS {
            for service in setting.services {
                for text in wrong(setting.kind) {
                    let variable = setting.variable();
                    assert_eq!(problems(*service, &[(setting.name, &text)]), [&*variable], "{text:?}");
                    let invalid = load(*service, &environment(&[(setting.name, &text)])).unwrap_err();
                    let says = format!("must be {}", setting.kind.hint());
                    assert!(invalid.to_string().contains(&says), "{invalid}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 500, "{tried}");
    }

    #[test]
    fn only_settings_of_the_service_are_judged() {
        assert!(load(Service::Edge, &environment(&[("DATABASE_URL", "nonsense")])).is_ok());
        assert_eq!(problems(Service::Persister, &[("DATABASE_URL", "nonsense")]), ["CHATBUS_DATABASE_URL"]);
    }

    #[test]
    fn a_bad_secret_is_named_and_not_shown() {
        let invalid =
            load(Service::Persister, &environment(&[("DATABASE_URL", "mysql://me:hunter2@db")])).unwrap_err();
        assert!(!invalid.to_string().contains("hunter2"), "{invalid}");
    }

    #[test]
    fn a_secret_may_come_from_a_file_without_its_last_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "postgres://me:pw@db/x\n").unwrap();
        let path = file.path().to_str().unwrap();
        let loaded = load(Service::Persister, &environment(&[("DATABASE_URL_FILE", path)])).unwrap();
        assert_eq!(loaded.settings.secret(names::DATABASE_URL), "postgres://me:pw@db/x");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let both = [("DATABASE_URL_FILE", path), ("DATABASE_URL", "postgres://db/x")];
        assert_eq!(problems(Service::Persister, &both), ["CHATBUS_DATABASE_URL"]);
        assert_eq!(
            problems(Service::Persister, &[("DATABASE_URL_FILE", "/no/such/file")]),
            ["CHATBUS_DATABASE_URL_FILE"]
        );
    }

    #[test]
    fn unknown_variables_are_warned_about_with_the_nearest_name() {
        let loaded =
            load(Service::Edge, &environment(&[("LISTNE", "x"), ("PIDS", "x"), ("QWERTYUIOP", "x")]))
                .unwrap();
        assert_eq!(
            loaded.warnings,
            [
                "CHATBUS_LISTNE is not a setting; was CHATBUS_LISTEN meant?",
                "CHATBUS_QWERTYUIOP is not a setting and is ignored"
            ]
        );
    }

    #[test]
    fn an_empty_variable_counts_as_not_given() {
        let loaded = load(Service::Edge, &environment(&[("LISTEN", "")])).unwrap();
        assert_eq!(loaded.settings.addr(names::LISTEN).port(), 7700);
    }
}
