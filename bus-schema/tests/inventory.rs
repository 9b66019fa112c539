//! `docs/bus.md` says what is in the code, no more and no less.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use bus_schema::{
    event::{Kind, Visibility},
    stream::{self, BUCKETS},
    subject::*,
    *,
};

const PAGE: &str = include_str!("../../docs/bus.md");

/// The code spans of the first column of the table rows below `heading`.
fn first_column(heading: &str) -> Vec<String> {
    let section = PAGE
        .split("\n## ")
        .find(|s| s.starts_with(heading))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect()
}

fn home(kind: Kind) -> String {
    match (kind.lane(Visibility::All), kind.lane(Visibility::Agents)) {
        (Some(Lane::Msg), Some(Lane::Note)) => "said".to_owned(),
        (Some(lane), _) => lane.tokens().to_owned(),
        (None, _) if kind.name().starts_with("visitor_") => "visitor".to_owned(),
        (None, _) => "agent".to_owned(),
    }
}

#[test]
fn every_subject_is_listed() {
    let text = |subject: Subject| subject.to_string();
    let (shard, tenant) = (Shard(0), TenantId::NIL);
    let conversation = ConversationId::NIL;
    let mut subjects: Vec<String> =
        Lane::ALL.map(|lane| text(Subject::Conversation { shard, tenant, conversation, lane })).to_vec();
    subjects.push(text(Subject::Agent { shard, tenant, agent: AgentId::NIL }));
    subjects.push(text(Subject::Visitor { shard, tenant, visitor: VisitorId::NIL }));
    let filled = |pattern: &String| {
        let nil = TenantId::NIL.to_string();
        ["<t>", "<c>", "<a>", "<v>", "<i>"]
            .iter()
            .fold(pattern.replace("<s>", "0"), |s, hole| s.replace(hole, &nil))
    };
    let mut listed: Vec<String> = first_column("Subjects of the log").iter().map(filled).collect();
    subjects.sort();
    listed.sort();
    assert_eq!(listed, subjects);

    let requests: Vec<String> = first_column("Requests and signals").iter().map(filled).collect();
    let signals = ConversationSubjects { shard, tenant, conversation }.signals();
    let echo = edge_echo(shard, IncarnationId::NIL);
    let mut expected = vec![commands(shard, tenant), history(shard, tenant), signals];
    expected.extend(TenantTopic::ALL.map(|topic| tenant_signals(shard, tenant, topic)));
    expected.push(echo);
    assert_eq!(requests, expected);
}

#[test]
fn every_stream_and_bucket_is_listed() {
    let log = stream::log(Shard(0));
    assert_eq!(first_column("Streams"), [log.name.replace("_0", "_<s>")]);
    for part in [&log.subjects[0], &log.republish.1] {
        assert!(PAGE.contains(&part.replace(".0.", ".<s>.")), "{part}");
    }
    assert!(PAGE.contains(&format!("duplicate window {} s", log.duplicate_window_ms / 1000)));
    assert!(PAGE.contains(&format!("at most {} KiB", log.message_bytes_max / 1024)));
    let names: Vec<&str> = BUCKETS.iter().map(|bucket| bucket.name).collect();
    assert_eq!(first_column("Buckets"), names);
    let stores: Vec<&str> = stream::OBJECTS.iter().map(|store| store.name).collect();
    assert_eq!(first_column("Object stores"), stores);
}

#[test]
fn every_kind_is_listed() {
    let row = |kind: &Kind| format!("| `{}` | {} |\n", kind.name(), home(*kind));
    let expected: String = Kind::ALL.iter().map(row).collect();
    let table = PAGE.split("| kind | lives in |\n|---|---|\n").nth(1).unwrap();
    assert_eq!(table, expected, "replace the table at the end of docs/bus.md by:\n{expected}");
}
