//! From the socket's bytes to whole messages, without a buffer while nothing comes.
//!
//! Invariant: fastwebsockets is only handed whole frames that the guard has let pass, so its reads never wait and are
//! never given up half done; an idle connection holds no bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bus_schema::close::CloseCode;
use bytes::{BufMut as _, Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, after_handshake_split};
use futures::FutureExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use super::{Assembler, FrameGuard, Message, guard::Whole};

/// Room for one read; a frame that is larger gets room as its bytes come.
const READ_BYTES: usize = 4 * 1024;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Message(Message),
    Ping(Bytes),
    /// It closes; this goes back.
    Close(Bytes),
    /// A pong, or a part of a message: it is alive.
    Nothing,
}

/// What is there of a message after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// None has begun that has not ended.
    Nothing,
    /// One began with this read.
    New,
    /// The one that had begun before.
    Same,
}

/// What came with one read.
#[derive(Debug)]
pub struct Heard {
    /// One for each whole frame.
    pub said: Vec<Said>,
    pub part: Part,
    pub bytes: u64,
    /// After it the client is cut off.
    pub violation: Option<CloseCode>,
}

/// The reading side of one connection.
#[derive(Debug)]
pub struct Inbound {
    bytes: BytesMut,
    guard: FrameGuard,
    assembler: Assembler,
    largest: usize,
}

impl Inbound {
    /// `largest`: bytes of one message.
    pub fn new(largest: u64) -> Self {
        Self {
            bytes: BytesMut::new(),
            guard: FrameGuard::new(largest),
            assembler: Assembler::default(),
            largest: usize::try_from(largest).unwrap_or(usize::MAX).saturating_add(1),
        }
    }

    /// What came with the upgrade request and was read with it.
    pub fn early(&mut self, bytes: &[u8]) -> Heard {
        self.bytes.extend_from_slice(bytes);
        self.hear(bytes.len())
    }

    /// Waits for bytes, and gives what they complete; none: the client is gone. Room is taken only once they are there.
    pub fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut OwnedReadHalf,
    ) -> Poll<io::Result<Option<Heard>>> {
        ready!(socket.as_ref().poll_read_ready(cx))?;
        self.bytes.reserve(READ_BYTES);
        let read = poll_read_buf(Pin::new(socket), cx, &mut (&mut self.bytes).limit(READ_BYTES));
        match read {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(Some(self.hear(count)))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
        }
    }

    /// Reads what the last `count` bytes completed.
    fn hear(&mut self, count: usize) -> Heard {
        let new = self.bytes.len() - count;
        let (was_within, had_fragments) = (self.guard.is_within(), self.assembler.is_open());
        let verdict = self.guard.inspect(&self.bytes[new..]);
        let whole = self.guard.take_whole();
        let mut said = Vec::with_capacity(whole.frames);
        let decoded = self.decode(whole, &mut said);
        let violation = decoded.err().or_else(|| verdict.err().map(super::Violation::close_code));
        let _ = self.bytes.split_to(whole.bytes);
        self.rest();
        let ended = said.iter().any(|said| matches!(said, Said::Message(_)));
        let part = match (self.guard.is_within(), was_within && !ended) {
            (false, _) => Part::Nothing,
            (true, true) if had_fragments || whole.frames == 0 => Part::Same,
            (true, _) => Part::New,
        };
        Heard { said, part, bytes: count as u64, violation }
    }

    /// Decodes the frames that passed whole, which are the first bytes here.
    fn decode(&mut self, whole: Whole, said: &mut Vec<Said>) -> Result<(), CloseCode> {
        if whole.frames == 0 {
            return Ok(());
        }
        let bytes = &self.bytes[..whole.bytes];
        let (mut reader, _) = after_handshake_split(bytes, tokio::io::sink(), Role::Server);
        // The guard refuses first, with the right code; this only bounds what is reserved.
        reader.set_max_message_size(self.largest);
        // Answers are the caller's, who counts a ping as a sign of life.
        reader.set_auto_pong(false);
        let mut echo = None;
        for _ in 0..whole.frames {
            let mut answer = |frame: Frame<'_>| {
                echo = Some(Bytes::copy_from_slice(&frame.payload));
                std::future::ready(Ok::<(), io::Error>(()))
            };
            let read = reader.read_frame(&mut answer).now_or_never();
            let frame = read.ok_or(CloseCode::Protocol)?.map_err(|error| code_of(&error))?;
            let item = match frame.opcode {
                OpCode::Close => {
                    said.push(Said::Close(echo.take().unwrap_or_default()));
                    return Ok(());
                }
                OpCode::Ping => Said::Ping(Bytes::copy_from_slice(&frame.payload)),
                OpCode::Pong => Said::Nothing,
                OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                    self.assembler.push(frame).map_or(Said::Nothing, Said::Message)
                }
            };
            said.push(item);
        }
        Ok(())
    }

    /// Gives the room back once nothing is in it.
    fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}

fn code_of(error: &WebSocketError) -> CloseCode {
    match error {
        WebSocketError::InvalidUTF8 => CloseCode::InvalidText,
        WebSocketError::FrameTooLarge => CloseCode::MessageTooLarge,
        _ => CloseCode::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
    }

    fn text(text: &str) -> Said {
        Said::Message(Message::Text(BytesMut::from(text)))
    }

    #[test]
    fn whole_frames_are_read_however_they_are_cut_and_nothing_is_kept() {
        let all = [
            frame(0x81, b"one"),
            frame(0x01, b"tw"),
            frame(0x89, b"?"),
            frame(0x80, b"o"),
            frame(0x8a, b""),
            frame(0x88, &1000_u16.to_be_bytes()),
        ]
        .concat();
        for step in 1..=all.len() {
            let mut inbound = Inbound::new(100);
            let mut said = Vec::new();
            for chunk in all.chunks(step) {
                let heard = inbound.early(chunk);
                assert_eq!(heard.violation, None);
                said.extend(heard.said.into_iter().filter(|said| *said != Said::Nothing));
            }
            let close = Bytes::copy_from_slice(&1000_u16.to_be_bytes());
            let ping = Said::Ping(Bytes::from_static(b"?"));
            assert_eq!(said, [text("one"), ping, text("two"), Said::Close(close)], "cut each {step}");
            assert_eq!(inbound.bytes.capacity(), 0);
        }
    }

    #[test]
    fn a_message_that_goes_on_is_told_from_one_that_begins() {
        let mut inbound = Inbound::new(100);
        let (one, two) = (frame(0x81, b"one"), frame(0x81, b"two"));
        let mut part = |bytes: &[u8]| inbound.early(bytes).part;
        assert_eq!(part(&one), Part::Nothing);
        assert_eq!(part(&one[..3]), Part::New);
        assert_eq!(part(&one[3..5]), Part::Same);
        assert_eq!(part(&[&one[5..], &two[..5]].concat()), Part::New);
        assert_eq!(part(&two[5..]), Part::Nothing);
        assert_eq!(part(&frame(0x01, b"a")), Part::New);
        assert_eq!(part(&frame(0x89, b"?")), Part::Same, "a ping gives it no more time");
        assert_eq!(part(&frame(0x00, b"b")), Part::Same);
        assert_eq!(part(&[frame(0x80, b"c"), frame(0x01, b"d")].concat()), Part::New);
        assert_eq!(part(&frame(0x80, b"e")), Part::Nothing);
        let ping = frame(0x89, b"?");
        assert_eq!(part(&ping[..3]), Part::New);
        assert_eq!(part(&[&ping[3..], &ping[..3]].concat()), Part::New, "the first one did end");
    }

    #[test]
    fn what_came_before_a_violation_is_still_said() {
        let mut inbound = Inbound::new(100);
        let heard = inbound.early(&[frame(0x81, b"one"), vec![0x81, 0x01, b'x']].concat());
        assert_eq!((heard.said, heard.violation), (vec![text("one")], Some(CloseCode::Protocol)));
        let heard = Inbound::new(100).early(&frame(0x81, &[0xff]));
        assert_eq!(heard.violation, Some(CloseCode::InvalidText));
    }
}
