//! Joins the fragments of a message.
//!
//! Invariant: it holds at most `FrameGuard`'s bound of one message, and its texts are UTF-8, because the guard refuses
//! everything else before it comes here.

use bytes::BytesMut;
use fastwebsockets::{Frame, OpCode, Payload};

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(BytesMut),
    /// No action is binary; kept apart so that it can be answered.
    Binary,
}

/// Fragments of the message that is coming.
#[derive(Debug, Default)]
pub struct Assembler {
    parts: BytesMut,
    text: bool,
    open: bool,
}

impl Assembler {
    /// Takes a frame, and gives the message that it ends. Control frames give nothing.
    pub fn push(&mut self, frame: Frame<'_>) -> Option<Message> {
        match (frame.opcode, frame.fin) {
            (OpCode::Text, true) => Some(Message::Text(owned(frame.payload))),
            (OpCode::Binary, true) => Some(Message::Binary),
            (OpCode::Text | OpCode::Binary, false) => {
                self.text = frame.opcode == OpCode::Text;
                self.open = true;
                self.parts = owned(frame.payload);
                None
            }
            (OpCode::Continuation, fin) => {
                self.parts.extend_from_slice(&frame.payload);
                if !fin {
                    return None;
                }
                self.open = false;
                let whole = std::mem::take(&mut self.parts);
                Some(if self.text { Message::Text(whole) } else { Message::Binary })
            }
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => None,
        }
    }

    /// Whether a message has begun and not ended.
    pub const fn is_open(&self) -> bool {
        self.open
    }
}

fn owned(payload: Payload<'_>) -> BytesMut {
    match payload {
        Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&other[..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(assembler: &mut Assembler, fin: bool, opcode: OpCode, bytes: &[u8]) -> Option<Message> {
        assembler.push(Frame::new(fin, opcode, None, Payload::Borrowed(bytes)))
    }

    #[test]
    fn fragments_join_across_a_character_and_control_frames_pass_between() {
        let mut assembler = Assembler::default();
        let text = "käse".as_bytes();
        assert_eq!(push(&mut assembler, false, OpCode::Text, &text[..2]), None);
        assert_eq!(push(&mut assembler, true, OpCode::Ping, b"x"), None);
        assert_eq!(push(&mut assembler, false, OpCode::Continuation, &text[2..3]), None);
        let whole = push(&mut assembler, true, OpCode::Continuation, &text[3..]);
        assert_eq!(whole, Some(Message::Text(BytesMut::from(text))));
        assert!(!assembler.is_open());
    }

    #[test]
    fn binary_is_told_apart() {
        let mut assembler = Assembler::default();
        assert_eq!(push(&mut assembler, true, OpCode::Binary, &[0xff]), Some(Message::Binary));
        assert_eq!(push(&mut assembler, false, OpCode::Binary, &[0xff]), None);
        assert!(assembler.is_open());
        assert_eq!(push(&mut assembler, true, OpCode::Continuation, &[0xff]), Some(Message::Binary));
    }
}
