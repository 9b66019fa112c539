//! Frames in bytes: what a client writes, masked and ready for the socket, and what it reads, without copying.

use std::borrow::Cow;

use bus_schema::{Author, ConversationId, EventId};
use fastwebsockets::{Frame, OpCode, Payload};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame of the server: an answer if it has a `request_id`, else a push.
#[derive(Debug, Deserialize)]
pub struct Inbound<'a> {
    /// Empty in a push. (An `Option` would make serde copy the text.)
    #[serde(borrow, default)]
    request_id: Cow<'a, str>,
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    #[serde(default)]
    pub success: bool,
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// Payload of the push `event`, borrowed.
#[derive(Debug, Deserialize)]
pub struct EventIn<'a> {
    pub conversation_id: ConversationId,
    #[serde(borrow)]
    pub event: &'a RawValue,
    #[serde(borrow)]
    pub cursor: Cow<'a, str>,
    #[serde(default)]
    pub late: bool,
}

/// The part of an event that a list is kept by.
#[derive(Debug, Deserialize)]
pub struct EventHead<'a> {
    pub seq: u64,
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    pub id: EventId,
    pub author: Author,
    /// Empty where there is none.
    #[serde(borrow, default)]
    client_id: Cow<'a, str>,
}

impl Inbound<'_> {
    /// The request that this answers; none: a push.
    pub fn answers(&self) -> Option<&str> {
        Some(self.request_id.as_ref()).filter(|id| !id.is_empty())
    }
}

impl<'a> EventHead<'a> {
    pub fn read(raw: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw)
    }

    pub fn client_id(&self) -> Option<&str> {
        Some(self.client_id.as_ref()).filter(|id| !id.is_empty())
    }
}

/// Appends a request. `action` is one of the protocol's names and `payload` is JSON.
pub fn push_request(out: &mut Vec<u8>, scratch: &mut Vec<u8>, request: u64, action: &str, payload: &[u8]) {
    scratch.clear();
    scratch.extend_from_slice(b"{\"request_id\":\"");
    push_number(scratch, request);
    scratch.extend_from_slice(b"\",\"action\":\"");
    scratch.extend_from_slice(action.as_bytes());
    scratch.extend_from_slice(b"\",\"payload\":");
    scratch.extend_from_slice(payload);
    scratch.push(b'}');
    push_frame(out, OpCode::Text, scratch);
}

/// Appends a masked frame.
pub fn push_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let mask: [u8; 4] = rand::random();
    let mut head = [0; 16];
    let size = Frame::new(true, opcode, Some(mask), Payload::Borrowed(payload)).fmt_head(&mut head);
    out.extend_from_slice(&head[..size]);
    let start = out.len();
    out.extend_from_slice(payload);
    Frame::new(true, opcode, Some(mask), Payload::BorrowedMut(&mut out[start..])).mask();
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write;
    write!(out, "{number}").expect("writing to a Vec never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_masked_and_carry_their_length() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut out = Vec::new();
            push_frame(&mut out, OpCode::Text, &payload);
            assert_eq!((out[0], out[1] & 0x80), (0x81, 0x80));
            let tail = out.len() - length;
            let mask: Vec<u8> = out[tail - 4..tail].to_vec();
            let plain: Vec<u8> =
                out[tail..].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(plain, payload);
        }
    }

    #[test]
    fn answers_and_pushes_read_without_copies() {
        let frame = r#"{"request_id":"7","action":"ping","type":"response","success":true,"payload":{}}"#;
        let answer: Inbound<'_> = serde_json::from_str(frame).unwrap();
        assert!(matches!(answer.request_id, Cow::Borrowed("7")) && answer.success);
        let push: Inbound<'_> =
            serde_json::from_str(r#"{"type":"push","action":"hello","payload":{"new":1}}"#).unwrap();
        assert!(push.answers().is_none() && push.payload.get() == r#"{"new":1}"#);
    }
}
