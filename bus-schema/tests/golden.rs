//! Frozen examples of every event kind and version: they must decode for ever.
//!
//! A file is never edited (`SHA256SUMS` holds them to that); a new kind or version adds one. To add the files of new
//! kinds run `GOLDEN=add cargo test -p bus-schema --test golden`, read them, and commit them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use bus_schema::{event::*, state::*, *};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn id<T>(make: impl Fn(Uuid) -> T, n: u128) -> T {
    make(Uuid::from_u128(0x0190_f3c2_5b7e_7000_8000_0000_0000_0000 + n))
}

fn agent() -> AgentId {
    id(AgentId::from_uuid, 0xa)
}

fn group() -> GroupId {
    id(GroupId::from_uuid, 0xb)
}

fn thread() -> ThreadId {
    id(ThreadId::from_uuid, 0xc)
}

fn visitor() -> VisitorId {
    id(VisitorId::from_uuid, 0xd)
}

fn target() -> EventId {
    id(EventId::from_uuid, 0xe)
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_795_222_923_004)
}

fn life(status: ThreadStatus) -> LifeState {
    LifeState {
        thread_id: thread(),
        status,
        group_id: Some(group()),
        assignee_id: (status == ThreadStatus::Active).then(agent),
        participants: if status == ThreadStatus::Active { vec![agent()] } else { vec![] },
        started_at: at(),
        started_seq: Some(4711),
        visitor_id: visitor(),
        widget_id: Some(id(WidgetId::from_uuid, 0xf)),
        previous_thread_id: None,
        continues: false,
        extra: newer(),
    }
}

/// A field that only a newer neighbour knows: every whole state must carry it through.
fn newer() -> Extra {
    Extra::from_iter([("from_a_newer_version".to_owned(), json!({"kept": true}))])
}

fn desk() -> DeskState {
    DeskState {
        thread_id: thread(),
        queue: Some(QueueEntry {
            group_id: Some(group()),
            since: at(),
            since_seq: 4711,
            reason: QueueReason::AllBusy,
        }),
        priority: Priority::High,
        skills: vec!["billing".to_owned()],
        skills_waived: false,
        offers: vec![Offer { agent_id: agent(), expires_at: at() }],
        avoid: vec![],
        deadlines: vec![Deadline { kind: DeadlineKind::Answer, at: at() }],
        misses: 1,
        last_agent_id: Some(agent()),
        last_assigned_at: None,
        idle_since: None,
        commands: vec![CommandRecord {
            command_id: id(CommandId::from_uuid, 0x10),
            outcome: command::Outcome::Accepted {
                answer: command::Answer::Thread {
                    thread_id: thread(),
                    assignee_id: Some(agent()),
                    seq: 4712,
                },
            },
        }],
        extra: newer(),
    }
}

fn decision() -> Decision {
    Decision {
        strategy: Some(Strategy::LeastLoaded),
        config_revision: 12,
        candidates: vec![Candidate {
            agent_id: agent(),
            load: 5,
            capacity: 5,
            priority: config::MemberPriority::First,
            last_assigned_at: Some(at()),
            refused: Some(Refusal::AtCapacity),
        }],
        chosen: None,
        rule: DecisionRule::NobodyFree,
        waiting_since: Some(at()),
        took_us: 140,
    }
}

fn agent_state() -> AgentState {
    AgentState {
        agent_id: agent(),
        status: RoutingStatus::Accepting,
        capacity: 5,
        presence: BTreeMap::from([(id(IncarnationId::from_uuid, 0x11), Presence { rev: 3, connections: 2 })]),
        conversations: vec![Held {
            conversation_id: id(ConversationId::from_uuid, 0x12),
            thread_id: thread(),
            since: at(),
            group_id: None,
            given_away: false,
        }],
        last_assigned_at: Some(at()),
        offline_since: None,
        left_at: None,
        misses: 0,
        deleted: false,
        commands: vec![],
        extra: newer(),
    }
}

fn record() -> VisitorRecord {
    VisitorRecord {
        name: Some("Ada Läufer".to_owned()),
        email: Some("ada@example.com".to_owned()),
        custom: BTreeMap::from([("plan".to_owned(), "pro".to_owned())]),
        external_id: Some("crm-17".to_owned()),
        verified: true,
        page: Some(Page { url: "https://example.com/pricing".to_owned(), title: Some("Pricing".to_owned()) }),
        extra: newer(),
        ..VisitorRecord::new(visitor())
    }
}

fn sample(kind: Kind) -> Body {
    use ThreadStatus::{Active, Closed as Shut, Queued as Waiting};
    let place = |agent_id, group_id| Place { agent_id, group_id };
    match kind {
        Kind::Message => Body::Message(Message {
            text: "Hello – is anybody there? 👋".to_owned(),
            quick_replies: vec![QuickReply { label: "Yes".to_owned(), value: "yes".to_owned() }],
        }),
        Kind::RichMessage => Body::RichMessage(RichMessage {
            template: "cards".to_owned(),
            elements: vec![json!({"title": "One"})],
        }),
        Kind::File => Body::File(File {
            attachment_id: id(AttachmentId::from_uuid, 0x13),
            name: "invoice.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            size: 1234,
            width: None,
            height: None,
        }),
        Kind::Form => {
            Body::Form(Form { template_id: "address".to_owned(), fields: vec![json!({"name": "street"})] })
        }
        Kind::FormFilled => Body::FormFilled(FormFilled {
            form_event_id: target(),
            values: BTreeMap::from([("street".to_owned(), json!("Main St 1"))]),
        }),
        Kind::MessageEdited => {
            Body::MessageEdited(MessageEdited { target_id: target(), text: "Hi".to_owned() })
        }
        Kind::MessageDeleted => Body::MessageDeleted(MessageDeleted { target_id: target(), purge: true }),
        Kind::Rated => Body::Rated(Rated { score: 5, comment: Some("quick".to_owned()) }),
        Kind::TranscriptRequested => {
            Body::TranscriptRequested(TranscriptRequested { email: "ada@example.com".to_owned() })
        }
        Kind::Tagged => Body::Tagged(Tagged { tag_id: id(TagId::from_uuid, 0x14) }),
        Kind::Untagged => Body::Untagged(Untagged { tag_id: id(TagId::from_uuid, 0x14) }),
        Kind::Started => Body::Started(Started {
            group_id: Some(group()),
            widget_id: Some(id(WidgetId::from_uuid, 0xf)),
            source: StartSource::Widget,
            state: LifeState { started_seq: None, ..life(Waiting) },
        }),
        Kind::Queued => Body::Queued(Queued {
            group_id: Some(group()),
            reason: QueueReason::NoAgentAccepting,
            state: life(Waiting),
        }),
        Kind::Assigned => {
            Body::Assigned(Assigned { agent_id: agent(), group_id: Some(group()), state: life(Active) })
        }
        Kind::Transferred => Body::Transferred(Transferred {
            from: place(Some(agent()), None),
            to: place(None, Some(group())),
            state: life(Waiting),
        }),
        Kind::Joined => Body::Joined(Joined { agent_id: agent(), state: life(Active) }),
        Kind::Left => Body::Left(Left { agent_id: agent(), state: life(Active) }),
        Kind::AgentLost => Body::AgentLost(AgentLost {
            agent_id: agent(),
            reason: AgentLostReason::Disconnected,
            state: life(Waiting),
        }),
        Kind::Idle => Body::Idle(Idle { since: at(), state: life(Active) }),
        Kind::Closed => Body::Closed(Closed {
            by: Author::agent(agent()),
            reason: CloseReason::Resolved,
            state: life(Shut),
        }),
        Kind::Reopened => Body::Reopened(Reopened {
            previous_thread_id: thread(),
            by: Author::agent(agent()),
            state: life(Waiting),
        }),
        Kind::Decided => Body::Decided(Decided { decision: decision(), state: desk() }),
        Kind::Offered => Body::Offered(Offered { agent_ids: vec![agent()], expires_at: at(), state: desk() }),
        Kind::Declined => Body::Declined(Declined { agent_id: agent(), state: desk() }),
        Kind::Unanswered => Body::Unanswered(Unanswered { agent_id: agent(), state: desk() }),
        Kind::PrioritySet => Body::PrioritySet(PrioritySet { priority: Priority::Urgent, state: desk() }),
        Kind::SkillsSet => Body::SkillsSet(SkillsSet { skills: vec!["billing".to_owned()], state: desk() }),
        Kind::SkillsWaived => Body::SkillsWaived(SkillsWaived { state: desk() }),
        Kind::Delivered => Body::Delivered(Delivered { up_to_seq: 4712 }),
        Kind::Read => Body::Read(Read { up_to_seq: 4712 }),
        Kind::VisitorSeen => Body::VisitorSeen(VisitorSeen {
            widget_id: Some(id(WidgetId::from_uuid, 0xf)),
            external_id: Some("crm-17".to_owned()),
            verified: true,
            page: record().page,
            record: record(),
        }),
        Kind::VisitorUpdated => Body::VisitorUpdated(VisitorUpdated {
            name: record().name,
            email: record().email,
            custom: record().custom,
            record: record(),
        }),
        Kind::VisitorBanned => Body::VisitorBanned(VisitorBanned {
            until: None,
            by: agent(),
            record: VisitorRecord { ban: Some(Ban { until: None, by: agent() }), ..record() },
        }),
        Kind::VisitorUnbanned => Body::VisitorUnbanned(VisitorUnbanned { record: record() }),
        Kind::VisitorErased => Body::VisitorErased(VisitorErased {
            receipt: "r-0001".to_owned(),
            record: VisitorRecord { erased_at: Some(at()), ..VisitorRecord::new(visitor()) },
        }),
        Kind::AgentConnected => Body::AgentConnected(AgentConnected { state: agent_state() }),
        Kind::AgentDisconnected => Body::AgentDisconnected(AgentDisconnected { state: agent_state() }),
        Kind::AgentStatusSet => Body::AgentStatusSet(AgentStatusSet { state: agent_state() }),
        Kind::AgentCapacitySet => Body::AgentCapacitySet(AgentCapacitySet { state: agent_state() }),
        Kind::AgentLoad => Body::AgentLoad(AgentLoad { state: agent_state() }),
    }
}

fn event(kind: Kind) -> Event {
    let in_conversation = kind.lane(Visibility::All).is_some();
    let said = matches!(kind.lane(Visibility::All), Some(Lane::Msg | Lane::Note));
    Event {
        id: target(),
        cause: in_conversation.then(|| Uuid::from_u128(0x15)),
        tenant_id: id(TenantId::from_uuid, 1),
        conversation_id: in_conversation.then(|| id(ConversationId::from_uuid, 0x12)),
        thread_id: in_conversation.then(thread),
        author: if said { Author::visitor(visitor()) } else { Author::SYSTEM },
        client_id: said.then(|| ClientId::new("c-1").unwrap()),
        visibility: Visibility::All,
        body: sample(kind),
    }
}

fn checksums() -> BTreeMap<String, String> {
    let text = fs::read_to_string(dir().join("SHA256SUMS")).unwrap_or_default();
    text.lines()
        .filter_map(|l| l.split_once("  "))
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect()
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn add_missing() {
    let mut sums = checksums();
    for kind in Kind::ALL {
        let name = format!("v{VERSION}/{}.json", kind.name());
        if sums.contains_key(&name) {
            continue;
        }
        let value: Value = serde_json::from_slice(&event(*kind).encode()).unwrap();
        let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
        fs::write(dir().join(&name), &text).unwrap();
        sums.insert(name, checksum(text.as_bytes()));
    }
    let lines: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(dir().join("SHA256SUMS"), lines).unwrap();
}

#[test]
fn every_kind_has_a_frozen_example_that_decodes_and_loses_nothing() {
    if std::env::var("GOLDEN").as_deref() == Ok("add") {
        add_missing();
    }
    let sums = checksums();
    for kind in Kind::ALL {
        let name = format!("v{VERSION}/{}.json", kind.name());
        assert!(sums.contains_key(&name), "no frozen example {name}: GOLDEN=add makes it");
    }
    for (name, sum) in sums {
        let text = fs::read(dir().join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(checksum(&text), sum, "{name} was edited: frozen examples never change");
        let decoded = Event::decode(&text).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let kind = decoded.body.kind().unwrap_or_else(|| panic!("{name} decodes to Unknown"));
        assert!(name.ends_with(&format!("/{}.json", kind.name())));
        let again: Value = serde_json::from_slice(&decoded.encode()).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(&text).unwrap(), "{name} loses something");
    }
}

#[test]
fn unknown_kinds_and_versions_decode_and_keep_their_bytes() {
    let mut value: Value = serde_json::from_slice(&event(Kind::Message).encode()).unwrap();
    for (kind, v) in [("hologram", 1), ("message", 9)] {
        value["kind"] = json!(kind);
        value["v"] = json!(v);
        let event = Event::decode(value.to_string().as_bytes()).unwrap();
        assert!(matches!(&event.body, Body::Unknown { kind: k, .. } if k == kind));
        assert_eq!(serde_json::from_slice::<Value>(&event.encode()).unwrap(), value);
    }
}

#[test]
fn unknown_fields_of_an_event_are_ignored() {
    let mut value: Value = serde_json::from_slice(&event(Kind::Message).encode()).unwrap();
    value["mood"] = json!("sunny");
    value["data"]["mood"] = json!("sunny");
    assert_eq!(Event::decode(value.to_string().as_bytes()).unwrap(), event(Kind::Message));
}

#[test]
fn readers_see_seq_and_at_in_front() {
    let stored = event(Kind::Message).encode();
    let seen = Seen::decode(&splice::splice(7, at(), &stored)).unwrap();
    assert_eq!(seen, Seen { seq: 7, at: at(), event: event(Kind::Message) });
    assert!(Seen::decode(&stored).is_err(), "without a place it is not seen");
}

#[test]
fn states_are_found_where_the_table_says() {
    for kind in Kind::ALL {
        let body = sample(*kind);
        let lane = kind.lane(Visibility::All);
        assert_eq!(body.life_state().is_some(), lane == Some(Lane::Life), "{kind:?}");
        assert_eq!(body.desk_state().is_some(), lane == Some(Lane::Desk), "{kind:?}");
        let beside = body.agent_state().is_some() || body.visitor_record().is_some();
        assert_eq!(beside, lane.is_none(), "{kind:?}");
    }
}
