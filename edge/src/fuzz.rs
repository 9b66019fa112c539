//! Everything that comes from outside, fed with what nobody should send.
//!
//! Invariant: no bytes panic, hang or make the process grow, and what is read is written and read the same again.
//! `CHATBUS_FUZZ_SECONDS=600 cargo test -p edge --lib fuzz -- --test-threads 1` is the long run.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use axum::extract::Query;
use bus_schema::{
    AttachmentId, Event, SessionId, Subject, TenantId, Timestamp, VisitorId, WidgetId,
    claims::{Role, StaffClaims, VisitorClaims},
    command::{CommandRequest, Outcome},
    config::{IdentityKey, Record},
    cursor::Cursor,
    event::{Kind, Seen},
    file::FileKey,
    history::{HistoryAnswer, HistoryRequest},
    protocol::{Action, TypeVisitor, WidgetSession},
    signal::{Signal, TenantSignal},
    stream,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use ops::{
    auth::{self, Audience, Forger, KeySet, PublicKey, SigningKey, StaffGrant, VisitorGrant},
    chat::{self, TextLimit},
    peer::{Peer, Proxies},
    testing::{Corpus, fuzz},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::{
    cursor::CursorSeal,
    directory::Origin,
    files::{Form, HEAD_BYTES, Links, Step, boundary, clean, disposition, sniff},
    session::request,
    socket::{FrameGuard, Inbound, Message, Said},
};

const MESSAGE_MAX: u64 = 4_096;

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn kept(name: &str) -> String {
    let path = root("edge/tests/corpus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The requests that the protocol's paper shows, each in a line, and what is kept beside them.
fn requests() -> Corpus {
    let paper = std::fs::read_to_string(root("docs/protocol.md")).unwrap();
    let examples = paper.split("```json\n").skip(1).filter_map(|block| block.split("```").next());
    let frames = examples.map(|example| serde_json::from_str::<serde_json::Value>(example).unwrap());
    let asked = frames.filter(|frame| frame.get("type").is_none());
    let lines: Vec<Vec<u8>> = asked.map(|frame| frame.to_string().into_bytes()).collect();
    assert!(lines.len() + 1 >= Action::ALL.len(), "an example of each action");
    Corpus::lines(&kept("requests.txt")).with(lines)
}

/// What is read as a type is written, and read the same again.
#[derive(Clone, Copy)]
struct Again<'a>(&'a [u8]);

impl TypeVisitor for Again<'_> {
    /// Whether it was read.
    type Out = bool;

    fn visit<T: Serialize + DeserializeOwned>(self) -> bool {
        let Ok(read) = request::body::<T>(self.0, "/payload") else { return false };
        let once = serde_json::to_vec(&read).unwrap();
        let again: T = serde_json::from_slice(&once).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), once);
        true
    }
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    Again(bytes).visit::<T>()
}

#[test]
fn frames() {
    fuzz("frames", &Corpus::hex(&kept("frames.hex")), |bytes| {
        let whole = FrameGuard::new(MESSAGE_MAX).inspect(bytes);
        let mut guard = FrameGuard::new(MESSAGE_MAX);
        let cut = bytes.chunks(7).try_for_each(|piece| guard.inspect(piece));
        assert_eq!(cut, whole);
        let said = read_as_a_connection(bytes, bytes.len().max(1));
        assert_eq!(read_as_a_connection(bytes, 7), said);
        whole.is_ok() && !said.is_empty()
    });
}

/// What a connection's reader hears, of bytes that come in such pieces.
fn read_as_a_connection(bytes: &[u8], piece: usize) -> Vec<Said> {
    let mut inbound = Inbound::new(MESSAGE_MAX);
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        let heard = inbound.early(piece);
        for said in &heard.said {
            if let Said::Message(Message::Text(text)) = said {
                assert!(text.len() as u64 <= MESSAGE_MAX);
                assert!(std::str::from_utf8(text).is_ok());
            }
        }
        let closed = heard.said.iter().any(|said| matches!(said, Said::Close(_)));
        all.extend(heard.said);
        if closed || heard.violation.is_some() {
            break;
        }
    }
    all
}

#[test]
fn requests_and_their_payloads() {
    fuzz("requests", &requests(), |bytes| {
        let Ok(asked) = request::read(bytes) else { return false };
        let payload = asked.payload.map_or("{}", RawValue::get).as_bytes();
        match asked.action {
            Some(action) => action.request(Again(payload)),
            None => Action::ALL.iter().filter(|action| action.request(Again(payload))).count() > 0,
        }
    });
}

#[test]
fn what_people_say() {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    fuzz("content", &Corpus::lines(&kept("content.txt")), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Some((kind, data)) = text.split_once(' ') else { return false };
        let Ok(data) = RawValue::from_string(data.to_owned()) else { return false };
        let known = Kind::parse(kind).or_else(|| Kind::parse(kinds[bytes.len() % kinds.len()]));
        let Ok(body) = chat::content(known.unwrap(), &data, TextLimit(1_000), "/data") else { return false };
        let written = serde_json::to_value(format!("{body:?}")).unwrap();
        assert!(written.is_string());
        true
    });
}

#[test]
fn tokens() {
    ops::service::install_crypto();
    let (staff, visitor) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let keys = KeySet::default();
    keys.add(Audience::Staff, staff.public().clone());
    keys.add(Audience::Visitor, visitor.public().clone());
    let now = Timestamp::from_millis(1_795_222_923_004);
    let tenant = TenantId::NIL;
    let good = [
        auth::mint_visitor(
            &visitor,
            VisitorGrant { visitor: VisitorId::NIL, tenant, widget: WidgetId::NIL },
            now,
        ),
        auth::mint_staff(
            &staff,
            StaffGrant {
                agent: bus_schema::AgentId::NIL,
                tenant,
                role: Role::Agent,
                session: SessionId::NIL,
            },
            now,
        ),
    ]
    .map(|minted| minted.token.into_bytes());
    let corpus = Corpus::lines(&kept("tokens.txt")).with(good.clone());
    fuzz("tokens", &corpus, |bytes| {
        again::<StaffClaims>(bytes);
        again::<VisitorClaims>(bytes);
        let _ = PublicKey::from_json(bytes);
        let Ok(token) = std::str::from_utf8(bytes) else { return false };
        let accepted =
            auth::verify_staff(&keys, token, now).is_ok() || auth::verify_visitor(&keys, token, now).is_ok();
        assert!(!accepted || good.iter().any(|good| good == bytes), "only what was signed is accepted");
        accepted
    });
}

#[test]
fn identity_tokens() {
    ops::service::install_crypto();
    let site = Forger::new(&SigningKey::generate().unwrap());
    let secret = "s".repeat(43);
    let keys = [
        IdentityKey::HS256 { secret: secret.clone(), previous: None },
        IdentityKey::EdDSA { public_key_pem: site.public_pem() },
    ];
    let now = Timestamp::from_millis(1_795_222_923_004);
    let claims = json!({ "aud": "wk_site", "sub": "crm-17", "exp": 1_795_222_923 + 600 });
    let good = [
        auth::with_secret(secret.as_bytes(), &json!({ "alg": "HS256", "typ": "JWT" }), &claims),
        site.sign(&json!({ "alg": "EdDSA", "typ": "JWT" }), &claims),
    ]
    .map(String::into_bytes);
    fuzz("identity_tokens", &Corpus::lines(&kept("tokens.txt")).with(good.clone()), |bytes| {
        let Ok(token) = std::str::from_utf8(bytes) else { return false };
        let accepted = keys.iter().any(|key| auth::verify_identity(key, "wk_site", token, now).is_ok());
        assert!(!accepted || good.iter().any(|good| good == bytes), "only what was signed is accepted");
        accepted
    });
}

#[test]
fn cursors() {
    let seal = CursorSeal::new(b"secret");
    let cursor = Cursor::from_bytes(&Corpus::hex(&kept("cursors.hex")).entries()[0]).unwrap();
    let sealed = seal.seal(&cursor).into_bytes();
    fuzz("cursors", &Corpus::hex(&kept("cursors.hex")).with([sealed.clone()]), |bytes| {
        let cursor = Cursor::from_bytes(bytes);
        if let Ok(cursor) = &cursor {
            assert_eq!(Cursor::from_bytes(&cursor.to_bytes()).as_ref(), Ok(cursor));
        }
        let opened = std::str::from_utf8(bytes).is_ok_and(|text| seal.open(text).is_ok());
        assert!(!opened || bytes == sealed, "only what was sealed is opened");
        cursor.is_ok() || opened
    });
}

#[test]
fn events() {
    let golden = Corpus::files(&root("bus-schema/tests/golden/v1")).unwrap();
    fuzz("events", &golden, |bytes| {
        let _ = Seen::decode(bytes);
        let _ = chat::Head::decode(bytes);
        let Ok(event) = Event::decode(bytes) else { return false };
        let written = event.encode();
        assert_eq!(Event::decode(&written).unwrap(), event);
        true
    });
}

#[test]
fn what_comes_over_the_bus() {
    fuzz("bus", &Corpus::lines(&kept("bus.txt")), |bytes| {
        let read = [
            again::<Signal>(bytes),
            again::<TenantSignal>(bytes),
            again::<CommandRequest>(bytes),
            again::<Outcome>(bytes),
            again::<HistoryRequest>(bytes),
            again::<HistoryAnswer>(bytes),
            stream::parse_horizon(bytes).is_some(),
        ];
        read.contains(&true)
    });
}

#[test]
fn subjects_and_times() {
    fuzz("subjects", &Corpus::lines(&kept("subjects.txt")), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let (time, subject) = (Timestamp::parse(text), Subject::parse(text));
        if let Ok(time) = &time {
            assert_eq!(Timestamp::parse(&time.to_string()).as_ref(), Ok(time));
        }
        if let Ok(subject) = &subject {
            assert_eq!(Subject::parse(&subject.to_string()).as_ref(), Ok(subject));
        }
        time.is_ok() || subject.is_ok()
    });
}

#[test]
fn configuration_records() {
    fuzz("records", &Corpus::lines(&kept("records.txt")), |bytes| {
        let Some(at) = bytes.iter().position(|byte| *byte == b' ') else { return false };
        let (key, value) = bytes.split_at(at);
        let Ok(record) = Record::decode(&String::from_utf8_lossy(key), value) else { return false };
        assert_eq!(Record::decode(&record.key(), &record.encode()).unwrap().encode(), record.encode());
        true
    });
}

#[test]
fn bodies_of_sessions() {
    fuzz("sessions", &Corpus::lines(&kept("sessions.txt")), |bytes| {
        let Ok(session) = request::body::<WidgetSession>(bytes, "") else { return false };
        let _ = ops::chat::profile::of_session(&session, None, WidgetId::NIL);
        again::<WidgetSession>(bytes)
    });
}

#[test]
fn links_to_files() {
    let links = Links::new(b"secret", "wss://chat.example/v1/ws");
    let now = Timestamp::from_millis(1_795_222_923_004);
    let file = FileKey { tenant: TenantId::NIL, attachment: AttachmentId::NIL };
    let good = links.make(file, Timestamp::from_millis(now.millis() + 600_000));
    let (_, good) = good.rsplit_once('/').unwrap();
    let over = links.make(file, now);
    let (_, over) = over.rsplit_once('/').unwrap();
    let corpus = Corpus::lines(&kept("links.txt")).with([good, over].map(|link| link.as_bytes().to_vec()));
    let read = |link: &str| {
        let uri: http::Uri = format!("/v1/attachments/{link}").parse().ok()?;
        let Query(query) = Query::<BTreeMap<String, String>>::try_from_uri(&uri).ok()?;
        Some((uri.path().rsplit('/').next()?.to_owned(), query))
    };
    let (_, signed) = read(good).unwrap();
    fuzz("links", &corpus, |bytes| {
        let Some((id, query)) = std::str::from_utf8(bytes).ok().and_then(read) else { return false };
        let Ok(opened) = links.open(&id, &query, now) else { return false };
        assert_eq!((opened, &query["signature"]), (file, &signed["signature"]), "only what was signed opens");
        assert_eq!(query["expires"].parse::<i64>(), signed["expires"].parse::<i64>());
        true
    });
}

#[test]
fn forms_with_files() {
    fuzz("forms", &Corpus::hex(&kept("forms.hex")), |bytes| {
        let (kind, form) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
        let kind = String::from_utf8_lossy(kind);
        let Some(boundary) = boundary(&kind) else { return false };
        let form = form.strip_prefix(b"\n").unwrap_or(form);
        let read = read_as_a_form(boundary, form, form.len().max(1));
        assert_eq!(read_as_a_form(boundary, form, 7), read, "however it is cut");
        let (parts, end) = read;
        for (file_name, content) in parts {
            let name = clean(&file_name.unwrap_or_default());
            assert!(!name.is_empty() && !name.contains(['/', '\\', '\r', '\n', '\0']), "{name:?}");
            assert_eq!(clean(&name), name);
            assert!(http::HeaderValue::from_str(&disposition(&name)).is_ok());
            if let Ok(found) = sniff(&name, &content[..content.len().min(HEAD_BYTES)]) {
                assert!(http::HeaderValue::from_str(found.content_type).is_ok());
            }
        }
        end == "whole"
    });
}

/// A file's name and its bytes.
type Part = (Option<String>, Vec<u8>);

/// The parts of a form that comes in such pieces, and how it ended.
fn read_as_a_form(boundary: &str, form: &[u8], piece: usize) -> (Vec<Part>, String) {
    let (mut reader, mut parts, mut pieces) = (Form::new(boundary), Vec::new(), form.chunks(piece));
    let end = loop {
        match reader.step() {
            Ok(Step::More) => match pieces.next() {
                Some(bytes) => reader.feed(bytes),
                None => break "cut off".to_owned(),
            },
            Ok(Step::Part { file_name, .. }) => parts.push((file_name, Vec::new())),
            Ok(Step::Bytes(bytes)) => parts.last_mut().expect("a part began").1.extend_from_slice(&bytes),
            Ok(Step::PartEnd) => {}
            Ok(Step::End) => break "whole".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    if end == "cut off" {
        // How much of the last part can be told apart from a boundary depends on the pieces.
        parts.pop();
    }
    (parts, end)
}

#[test]
fn headers_that_limits_and_origins_are_read_from() {
    let proxies = Proxies::parse(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()]).unwrap();
    let (proxy, stranger): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let listed = ["https://shop.example"];
    fuzz("headers", &Corpus::lines(&kept("headers.txt")), |bytes| {
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'|') {
            let Some(at) = line.iter().position(|byte| *byte == b' ') else { continue };
            let (name, value) =
                (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(&line[at + 1..]));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        assert_eq!(
            proxies.client(stranger, &headers),
            Some(Peer::new(stranger)),
            "its word counts for nothing"
        );
        let client = proxies.client(proxy, &headers);
        if let Some(Peer(client)) = client {
            assert!(!proxies.trusts(client), "a proxy's own address is nobody's");
        }
        let origin = Origin::of(&headers);
        if origin.is_in(&listed) {
            let same = |origin: &str| origin.eq_ignore_ascii_case(listed[0]);
            assert!(matches!(&origin, Origin::Absent) || matches!(&origin, Origin::Page(page) if same(page)));
        }
        client.is_some() || matches!(origin, Origin::Page(_))
    });
}
