//! Settings from the environment, typed and validated all at once.
//!
//! Invariant: a `Settings` holds a well-formed value for every setting of its service that has a default or
//! was given, and, in the production profile, no unsafe one.

mod load;
pub mod names;
mod nearest;
mod problem;
mod render;
mod safety;
pub mod table;
mod value;

pub use load::{Environment, Loaded, load, process_environment};
pub use problem::{Invalid, Problem, Source};
pub use render::{configuration_md, env_example, print};
pub(crate) use safety::unsafe_settings;
pub use value::{Kind, Value};

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::service::Service;

/// How careful the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Development,
    Production,
}

/// The settings of one process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Settings {
    service: Service,
    values: Arc<BTreeMap<&'static str, Given>>,
}

/// A value, and where it came from.
#[derive(Debug, Clone)]
struct Given {
    value: Value,
    source: Source,
}

/// Accessors take a name of `names`. They panic on a name that is not a setting of this service, or is of
/// another kind: that is a mistake in the code, which the first start shows, never one in the environment.
impl Settings {
    /// Settings of `service` out of pairs of name (without prefix) and value, the rest at their defaults.
    pub fn from_pairs(service: Service, pairs: &[(&str, &str)]) -> Result<Self, Invalid> {
        let environment = pairs
            .iter()
            .map(|(name, value)| (format!("{}{name}", table::PREFIX), (*value).to_owned()))
            .collect();
        load(service, &environment).map(|loaded| loaded.settings)
    }

    pub fn service(&self) -> Service {
        self.service
    }

    pub fn profile(&self) -> Profile {
        match self.text(names::PROFILE) {
            "production" => Profile::Production,
            _ => Profile::Development,
        }
    }

    /// Text, a path, a URL or one of a closed set of words.
    pub fn text(&self, name: &str) -> &str {
        self.opt_text(name).unwrap_or_else(|| panic!("{name} has neither value nor default: use opt_text"))
    }

    pub fn opt_text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| match value {
            Value::Text(text) => text.as_str(),
            other => wrong_kind(name, other),
        })
    }

    pub fn opt_path(&self, name: &str) -> Option<&Path> {
        self.opt_text(name).map(Path::new)
    }

    pub fn path(&self, name: &str) -> &Path {
        Path::new(self.text(name))
    }

    /// A secret; the caller keeps it out of logs and errors.
    pub fn secret(&self, name: &str) -> &str {
        self.opt_secret(name)
            .unwrap_or_else(|| panic!("{name} has neither value nor default: use opt_secret"))
    }

    pub fn opt_secret(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| match value {
            Value::Secret(text) => text.as_str(),
            other => wrong_kind(name, other),
        })
    }

    pub fn millis(&self, name: &str) -> Duration {
        match self.must(name) {
            Value::Millis(time) => *time,
            other => wrong_kind(name, other),
        }
    }

    pub fn int(&self, name: &str) -> u64 {
        match self.must(name) {
            Value::Int(number) => *number,
            other => wrong_kind(name, other),
        }
    }

    /// A limit: `None` where 0 switched it off.
    pub fn limit(&self, name: &str) -> Option<u64> {
        Some(self.int(name)).filter(|limit| *limit > 0)
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.must(name) {
            Value::Bool(flag) => *flag,
            other => wrong_kind(name, other),
        }
    }

    pub fn addr(&self, name: &str) -> SocketAddr {
        match self.must(name) {
            Value::Addr(addr) => *addr,
            other => wrong_kind(name, other),
        }
    }

    pub fn list(&self, name: &str) -> &[String] {
        match self.must(name) {
            Value::List(items) => items,
            other => wrong_kind(name, other),
        }
    }

    /// A list of whole numbers.
    pub fn ints(&self, name: &str) -> Vec<u16> {
        self.list(name).iter().map(|item| item.parse().expect("validated as whole numbers")).collect()
    }

    /// Settings whose value was read out of a file, and the file.
    pub(crate) fn read_from_files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.values.iter().filter_map(|(name, given)| match &given.source {
            Source::File(path) => Some((*name, PathBuf::from(path))),
            Source::Environment | Source::Default => None,
        })
    }

    fn must(&self, name: &str) -> &Value {
        self.get(name).unwrap_or_else(|| panic!("{name} has neither value nor default"))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        if !table::find(name).is_some_and(|setting| setting.services.contains(&self.service)) {
            panic!("{name} is no setting of {}", self.service);
        }
        self.values.get(name).map(|given| &given.value)
    }
}

fn wrong_kind(name: &str, value: &Value) -> ! {
    panic!("{name} is read as another kind than its value {value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_alone_make_valid_settings_for_every_service() {
        for service in Service::ALL {
            let settings = Settings::from_pairs(service, &[]).unwrap();
            assert_eq!(settings.profile(), Profile::Development);
            assert_eq!(settings.millis(names::GRACE_MS), Duration::from_secs(10));
        }
    }

    #[test]
    fn accessors_give_typed_values() {
        let settings = Settings::from_pairs(
            Service::Edge,
            &[(names::INSTANCE, "2"), (names::CORS_ORIGINS, "https://a.example, https://b.example")],
        )
        .unwrap();
        assert_eq!(settings.addr(names::LISTEN).port(), 7720);
        assert_eq!(settings.addr(names::OPS_LISTEN).port(), 7820);
        assert_eq!(settings.list(names::CORS_ORIGINS).len(), 2);
        assert_eq!(settings.limit(names::LIMIT_TEXT_BYTES), Some(16 * 1024));
        assert_eq!(settings.ints(names::SHARDS), [0]);
        assert_eq!(settings.opt_text(names::NATS_CREDS_FILE), None);
    }
}
