//! What differs between a stream as planned and as it is.
//!
//! Invariant: pure; only what Chatbus relies on is compared, so that an operator may set the rest.

use std::fmt;

use async_nats::jetstream::stream::Config;
use bus_schema::stream::EPOCH_KEY;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub field: &'static str,
    pub wanted: String,
    pub found: String,
    /// Setting it as wanted only widens, so that it may be done without asking.
    pub widens: bool,
}

impl Difference {
    /// Whether it is about how much is kept and how often, rather than how the stream behaves.
    pub fn is_size(&self) -> bool {
        matches!(self.field, MAX_BYTES | REPLICAS)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.field, self.found, self.wanted)
    }
}

const MAX_BYTES: &str = "max_bytes";
const REPLICAS: &str = "replicas";
const ATOMIC: &str = "allow_atomic_publish";
const DIRECT: &str = "allow_direct";
const TTL: &str = "allow_msg_ttl";

/// What differs, field by field.
pub(super) fn differences(wanted: &Config, found: &Config) -> Vec<Difference> {
    let mut out = Vec::new();
    let mut differ = |field, wanted: String, found: String, widens: bool| {
        if wanted != found {
            out.push(Difference { field, wanted, found, widens });
        }
    };
    differ("subjects", wanted.subjects.join(" "), found.subjects.join(" "), false);
    differ("discard", format!("{:?}", wanted.discard), format!("{:?}", found.discard), false);
    differ("retention", format!("{:?}", wanted.retention), format!("{:?}", found.retention), false);
    differ("storage", format!("{:?}", wanted.storage), format!("{:?}", found.storage), false);
    differ("republish", republish(wanted), republish(found), false);
    differ("max_age", format!("{:?}", wanted.max_age), format!("{:?}", found.max_age), false);
    differ("max_msgs", limit(wanted.max_messages), limit(found.max_messages), false);
    differ(
        "max_msgs_per_subject",
        limit(wanted.max_messages_per_subject),
        limit(found.max_messages_per_subject),
        false,
    );
    differ("persist_mode", format!("{:?}", wanted.persist_mode), format!("{:?}", found.persist_mode), false);
    differ(
        "duplicate_window",
        format!("{:?}", wanted.duplicate_window),
        format!("{:?}", found.duplicate_window),
        false,
    );
    differ(
        ATOMIC,
        wanted.allow_atomic_publish.to_string(),
        found.allow_atomic_publish.to_string(),
        wanted.allow_atomic_publish,
    );
    differ(DIRECT, wanted.allow_direct.to_string(), found.allow_direct.to_string(), wanted.allow_direct);
    differ(
        TTL,
        wanted.allow_message_ttl.to_string(),
        found.allow_message_ttl.to_string(),
        wanted.allow_message_ttl,
    );
    differ(
        REPLICAS,
        wanted.num_replicas.to_string(),
        found.num_replicas.to_string(),
        wanted.num_replicas > found.num_replicas,
    );
    differ(
        MAX_BYTES,
        limit(wanted.max_bytes),
        limit(found.max_bytes),
        wider(wanted.max_bytes, found.max_bytes),
    );
    let has_epoch = found.metadata.contains_key(EPOCH_KEY);
    if wanted.republish.is_some() && !has_epoch {
        out.push(Difference {
            field: "metadata",
            wanted: format!("{EPOCH_KEY} set when it was created"),
            found: "without it: made by something else".to_owned(),
            widens: false,
        });
    }
    out
}

/// `found`, with what may be widened as `wanted`.
pub(super) fn widened(mut found: Config, wanted: &Config) -> Config {
    found.allow_atomic_publish |= wanted.allow_atomic_publish;
    found.allow_direct |= wanted.allow_direct;
    found.allow_message_ttl |= wanted.allow_message_ttl;
    found.num_replicas = found.num_replicas.max(wanted.num_replicas);
    if wider(wanted.max_bytes, found.max_bytes) {
        found.max_bytes = wanted.max_bytes;
    }
    found
}

/// Whether limit `a` lets more through than `b`; none is -1 or 0.
fn wider(a: i64, b: i64) -> bool {
    b > 0 && (a <= 0 || a > b)
}

fn limit(value: i64) -> String {
    if value > 0 { value.to_string() } else { "unlimited".to_owned() }
}

fn republish(config: &Config) -> String {
    config
        .republish
        .as_ref()
        .map_or_else(|| "none".to_owned(), |r| format!("{} to {}", r.source, r.destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_widening_is_done_without_asking() {
        let wanted = Config { max_bytes: 200, num_replicas: 3, allow_direct: true, ..Config::default() };
        let found = Config { max_bytes: 100, num_replicas: 1, ..Config::default() };
        assert!(differences(&wanted, &found).iter().all(|difference| difference.widens));
        let changed = widened(found.clone(), &wanted);
        assert!(differences(&wanted, &changed).is_empty());
        // The other way round everything stays as it is.
        assert!(differences(&found, &wanted).iter().all(|difference| !difference.widens));
        assert_eq!(widened(wanted.clone(), &found), wanted);
    }

    #[test]
    fn a_log_without_an_epoch_was_made_by_something_else() {
        let republish = async_nats::jetstream::stream::Republish {
            source: "a.>".into(),
            destination: "b.>".into(),
            headers_only: false,
        };
        let wanted = Config { republish: Some(republish), ..Config::default() };
        let found = wanted.clone();
        assert_eq!(differences(&wanted, &found)[0].field, "metadata");
    }
}
