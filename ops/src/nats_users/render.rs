//! The users' part of a nats-server configuration.
//!
//! Invariant: pure; holds public keys and subjects, no secret.

use std::fmt::Write as _;

use bus_schema::{Shard, stream};

use super::{BusUser, Rights};

/// A request's reply may be published within this time.
const ANSWER_WITHIN: &str = "30s";

/// Text to be included in the server's configuration: nobody else may connect.
pub fn server_config(users: &[BusUser], shards: &[Shard]) -> String {
    let mut out = String::from("authorization {\n  users = [\n");
    for user in users {
        let rights = Rights::of(user.service);
        let mut subscribe = expand(rights.subscribe, shards);
        subscribe.push(format!("_INBOX_{}.>", user.service));
        let _ = write!(
            out,
            "    # {}\n    {{\n      nkey: {}\n      permissions: {{\n        publish: {{ allow: [{}] }}\n        subscribe: {{ allow: [{}] }}\n",
            user.service,
            user.public(),
            quoted(&publish(rights, shards)),
            quoted(&subscribe),
        );
        if rights.answers {
            let _ = writeln!(out, "        allow_responses: {{ max: 1, expires: \"{ANSWER_WITHIN}\" }}");
        }
        out.push_str("      }\n    }\n");
    }
    out.push_str("  ]\n}\n");
    out
}

fn publish(rights: &Rights, shards: &[Shard]) -> Vec<String> {
    let mut out = expand(rights.publish, shards);
    if rights.manages {
        out.extend(["$JS.API.>".to_owned(), "$JS.FC.>".to_owned()]);
        return out;
    }
    for shard in shards {
        out.extend(reading(&stream::log_name(*shard)));
    }
    for bucket in rights.buckets {
        out.extend(reading(&format!("KV_{bucket}")));
    }
    for store in stream::OBJECTS.iter().filter(|store| rights.objects.contains(&store.name)) {
        out.extend(reading(&store.stream()));
        out.extend([store.chunks("*"), store.about("*"), format!("$JS.API.STREAM.PURGE.{}", store.stream())]);
    }
    // What verifying at the start asks about all of them.
    out.extend(stream::BUCKETS.iter().map(|bucket| format!("$JS.API.STREAM.INFO.KV_{}", bucket.name)));
    out.extend(stream::OBJECTS.iter().map(|store| format!("$JS.API.STREAM.INFO.{}", store.stream())));
    out.push("$JS.FC.>".to_owned());
    out.sort();
    out.dedup();
    out
}

/// The requests that reading a stream takes.
fn reading(stream: &str) -> impl Iterator<Item = String> {
    let api = [
        format!("STREAM.INFO.{stream}"),
        format!("STREAM.MSG.GET.{stream}"),
        format!("DIRECT.GET.{stream}"),
        format!("DIRECT.GET.{stream}.>"),
        format!("CONSUMER.CREATE.{stream}"),
        format!("CONSUMER.CREATE.{stream}.>"),
        format!("CONSUMER.INFO.{stream}.*"),
        format!("CONSUMER.MSG.NEXT.{stream}.*"),
        format!("CONSUMER.DELETE.{stream}.*"),
    ];
    api.into_iter().map(|subject| format!("$JS.API.{subject}"))
}

fn expand(subjects: &[&str], shards: &[Shard]) -> Vec<String> {
    let mut out = Vec::new();
    for subject in subjects {
        if subject.contains("{shard}") {
            out.extend(shards.iter().map(|shard| subject.replace("{shard}", &shard.to_string())));
        } else {
            out.push((*subject).to_owned());
        }
    }
    out
}

fn quoted(subjects: &[String]) -> String {
    subjects.iter().map(|subject| format!("\"{subject}\"")).collect::<Vec<_>>().join(", ")
}
