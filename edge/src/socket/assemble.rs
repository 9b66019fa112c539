//! Joins the fragments of a message.
//!
//! Invariant: it holds at most `FrameGuard`'s bound of one message, because the guard refuses more before it comes
//! here; a text is whole UTF-8 or refused.

use bytes::BytesMut;
use fastwebsockets::{Frame, OpCode, Payload};

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(BytesMut),
    /// No action is binary; kept apart so that it can be answered.
    Binary,
}

/// A text message was not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text message was not UTF-8")]
pub struct NotUtf8;

/// Fragments of the message that is coming.
#[derive(Debug, Default)]
pub struct Assembler {
    parts: BytesMut,
    text: bool,
}

impl Assembler {
    /// Takes a frame, and gives the message that it ends. Control frames give nothing.
    pub fn push(&mut self, frame: Frame<'_>) -> Result<Option<Message>, NotUtf8> {
        match (frame.opcode, frame.fin) {
            // fastwebsockets has checked the UTF-8 of texts in one frame.
            (OpCode::Text, true) => Ok(Some(Message::Text(owned(frame.payload)))),
            (OpCode::Binary, true) => Ok(Some(Message::Binary)),
            (OpCode::Text | OpCode::Binary, false) => {
                self.text = frame.opcode == OpCode::Text;
                self.parts = owned(frame.payload);
                Ok(None)
            }
            (OpCode::Continuation, fin) => {
                self.parts.extend_from_slice(&frame.payload);
                if !fin {
                    return Ok(None);
                }
                let whole = std::mem::take(&mut self.parts);
                match self.text {
                    false => Ok(Some(Message::Binary)),
                    true if std::str::from_utf8(&whole).is_ok() => Ok(Some(Message::Text(whole))),
                    true => Err(NotUtf8),
                }
            }
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => Ok(None),
        }
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

    fn push(
        assembler: &mut Assembler,
        fin: bool,
        opcode: OpCode,
        bytes: &[u8],
    ) -> Result<Option<Message>, NotUtf8> {
        assembler.push(Frame::new(fin, opcode, None, Payload::Borrowed(bytes)))
    }

    #[test]
    fn fragments_join_across_a_character_and_control_frames_pass_between() {
        let mut assembler = Assembler::default();
        let text = "käse".as_bytes();
        assert_eq!(push(&mut assembler, false, OpCode::Text, &text[..2]), Ok(None));
        assert_eq!(push(&mut assembler, true, OpCode::Ping, b"x"), Ok(None));
        assert_eq!(push(&mut assembler, false, OpCode::Continuation, &text[2..3]), Ok(None));
        let whole = push(&mut assembler, true, OpCode::Continuation, &text[3..]);
        assert_eq!(whole, Ok(Some(Message::Text(BytesMut::from(text)))));
    }

    #[test]
    fn an_unfinished_character_is_refused_and_binary_is_told_apart() {
        let mut assembler = Assembler::default();
        assert_eq!(push(&mut assembler, false, OpCode::Text, &[0xc3]), Ok(None));
        assert_eq!(push(&mut assembler, true, OpCode::Continuation, b""), Err(NotUtf8));
        assert_eq!(push(&mut assembler, true, OpCode::Binary, &[0xff]), Ok(Some(Message::Binary)));
        assert_eq!(push(&mut assembler, false, OpCode::Binary, &[0xff]), Ok(None));
        assert_eq!(push(&mut assembler, true, OpCode::Continuation, &[0xff]), Ok(Some(Message::Binary)));
    }
}
