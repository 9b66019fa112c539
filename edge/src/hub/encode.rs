//! Frames of the push `event`: what all readers share is encoded once, and never parsed.

use bus_schema::{Timestamp, protocol::Person, splice::splice_into, subject::ConversationSubjects};
use bytes::Bytes;

use crate::socket::Outgoing;

/// The part that all readers of a feed share: `{…"event":{…}` without what follows.
pub fn shared(home: ConversationSubjects, seq: u64, at: Timestamp, stored: &[u8], late: bool) -> Bytes {
    const HEAD: &[u8] = br#"{"type":"push","action":"event","payload":{"conversation_id":""#;
    let mut out = Vec::with_capacity(HEAD.len() + 36 + 10 + bus_schema::splice::PREFIX_MAX + stored.len());
    out.extend_from_slice(HEAD);
    let mut buffer = [0; 36];
    out.extend_from_slice(home.conversation.uuid().as_hyphenated().encode_lower(&mut buffer).as_bytes());
    out.extend_from_slice(br#"","event":"#);
    splice_into(&mut out, seq, at, stored);
    if late {
        out.extend_from_slice(br#","late":true"#);
    }
    out.into()
}

/// The frame for one reader.
pub fn event(shared: Bytes, cursor: &str, people: &[Person]) -> Outgoing {
    let mut own = Vec::with_capacity(16 + cursor.len());
    own.extend_from_slice(br#","cursor":""#);
    own.extend_from_slice(cursor.as_bytes());
    own.push(b'"');
    if !people.is_empty() {
        own.extend_from_slice(br#","people":"#);
        serde_json::to_writer(&mut own, people).expect("people are strings, written to memory");
    }
    own.extend_from_slice(b"}}");
    Outgoing::Text { shared, own: own.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{AuthorType, ConversationId, Shard, TenantId, protocol::EventPush};
    use uuid::Uuid;

    #[test]
    fn both_parts_make_the_push_of_the_contract() {
        let home = ConversationSubjects {
            shard: Shard(0),
            tenant: TenantId::NIL,
            conversation: ConversationId::NIL,
        };
        let person = Person {
            kind: AuthorType::Agent,
            id: Uuid::nil(),
            name: Some("A \"quoted\" name".into()),
            avatar_url: None,
            job_title: None,
        };
        let stored = br#"{"v":1,"kind":"message"}"#;
        let shared = shared(home, 7, Timestamp::from_millis(0), stored, true);
        let Outgoing::Text { shared, own } = event(shared, "abc", std::slice::from_ref(&person)) else {
            panic!()
        };
        let whole = [shared, own].concat();
        let frame: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!((frame["type"].as_str(), frame["action"].as_str()), (Some("push"), Some("event")));
        let push: EventPush = serde_json::from_value(frame["payload"].clone()).unwrap();
        assert_eq!((push.cursor.as_str(), push.late, push.people), ("abc", true, vec![person]));
        assert!(push.event.get().contains(r#""seq":7"#));
    }
}
