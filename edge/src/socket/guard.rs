//! What a client may put on the wire (RFC 6455), checked before fastwebsockets sees it.
//!
//! Invariant: bytes reach the frame parser only while every header so far is masked, of a known opcode, within the
//! size of the whole message and the number of its fragments, and every text so far is UTF-8. How the bytes are cut
//! changes neither the verdict nor which frames are whole before it.

use bus_schema::close::CloseCode;

use super::utf8::Utf8;

/// Fragments of one message; chat clients send one.
pub const FRAGMENTS_MAX: u32 = 64;
const CONTROL_BYTES_MAX: u64 = 125;
const HEADER_BYTES_MAX: usize = 14;

/// What a client did that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a client's frame must be masked")]
    Unmasked,
    #[error("reserved bits are set and no extension was agreed")]
    ReservedBits,
    #[error("unknown opcode")]
    Opcode,
    #[error("a control frame may not be fragmented")]
    ControlFragmented,
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    #[error("a length is not in its shortest form")]
    Length,
    #[error("a continuation without a message, or a message within a message")]
    Continuation,
    #[error("the message is larger than the limit")]
    MessageTooLarge,
    #[error("the message has too many fragments")]
    TooManyFragments,
    #[error("a text is not UTF-8")]
    NotUtf8,
}

impl Violation {
    pub const fn close_code(self) -> CloseCode {
        match self {
            Violation::MessageTooLarge | Violation::TooManyFragments => CloseCode::MessageTooLarge,
            Violation::NotUtf8 => CloseCode::InvalidText,
            Violation::Unmasked
            | Violation::ReservedBits
            | Violation::Opcode
            | Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::Length
            | Violation::Continuation => CloseCode::Protocol,
        }
    }
}

/// Frames that have passed whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Whole {
    pub frames: usize,
    /// Of these frames.
    pub bytes: usize,
}

/// Follows the stream's frame headers and the texts in it; other payloads are skipped.
#[derive(Debug)]
pub struct FrameGuard {
    header: [u8; HEADER_BYTES_MAX],
    /// Bytes of `header` that are there.
    have: usize,
    payload_left: u64,
    /// Of the frame whose payload comes.
    payload: Payload,
    message: Option<Message>,
    message_bytes_max: u64,
    /// Since they were asked for.
    whole: Whole,
    /// Bytes of the frame after them.
    begun: usize,
}

/// What the bytes of a frame are.
#[derive(Debug, Clone, Copy, Default)]
struct Payload {
    key: [u8; 4],
    at: u64,
    /// Part of `message`.
    is_data: bool,
    /// The last of its message.
    is_last: bool,
}

/// A message of which fragments have come.
#[derive(Debug, Clone, Copy)]
struct Message {
    bytes: u64,
    fragments: u32,
    /// None: binary.
    text: Option<Utf8>,
}

impl FrameGuard {
    pub const fn new(message_bytes_max: u64) -> Self {
        let payload = Payload { key: [0; 4], at: 0, is_data: false, is_last: false };
        let whole = Whole { frames: 0, bytes: 0 };
        let header = [0; HEADER_BYTES_MAX];
        Self { header, have: 0, payload_left: 0, payload, message: None, message_bytes_max, whole, begun: 0 }
    }

    /// Looks at the next bytes of the stream.
    pub fn inspect(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.payload_left > 0 {
                let count = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(rest.len());
                let (payload, after) = rest.split_at(count);
                rest = after;
                self.follow_payload(payload)?;
            } else {
                self.follow_header(rest[0])?;
                rest = &rest[1..];
            }
        }
        Ok(())
    }

    /// The whole frames that have passed since the last time, also those before a violation.
    pub fn take_whole(&mut self) -> Whole {
        std::mem::take(&mut self.whole)
    }

    /// Whether a message has begun, by a fragment or by some bytes, and has not ended.
    pub const fn is_within(&self) -> bool {
        self.begun > 0 || self.message.is_some()
    }

    fn follow_header(&mut self, byte: u8) -> Result<(), Violation> {
        self.header[self.have] = byte;
        self.have += 1;
        self.begun += 1;
        if self.have == 2 {
            self.check_first_two()?;
        }
        if self.have >= 2 && self.have == self.header_length() {
            self.begin_payload()?;
            self.have = 0;
            self.end_frame();
        }
        Ok(())
    }

    fn follow_payload(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let Payload { key, at, .. } = self.payload;
        if self.payload.is_data && !self.text().is_none_or(|text| text.push_masked(bytes, key, at)) {
            return Err(Violation::NotUtf8);
        }
        self.payload.at += bytes.len() as u64;
        self.payload_left -= bytes.len() as u64;
        self.begun += bytes.len();
        self.end_payload()?;
        self.end_frame();
        Ok(())
    }

    const fn end_frame(&mut self) {
        if self.payload_left == 0 {
            self.whole.frames += 1;
            self.whole.bytes += self.begun;
            self.begun = 0;
        }
    }

    /// After the last byte of a text nothing may be missing of its last character.
    fn end_payload(&mut self) -> Result<(), Violation> {
        if self.payload_left > 0 || !self.payload.is_last {
            return Ok(());
        }
        let whole = self.text().is_none_or(|text| text.is_whole());
        self.message = None;
        if whole { Ok(()) } else { Err(Violation::NotUtf8) }
    }

    fn text(&mut self) -> Option<&mut Utf8> {
        self.message.as_mut()?.text.as_mut()
    }

    fn header_length(&self) -> usize {
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + 4
    }

    fn check_first_two(&self) -> Result<(), Violation> {
        let [first, second] = [self.header[0], self.header[1]];
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        match opcode {
            0 if self.message.is_none() => return Err(Violation::Continuation),
            1 | 2 if self.message.is_some() => return Err(Violation::Continuation),
            0..=2 => {}
            8..=10 if !fin => return Err(Violation::ControlFragmented),
            8..=10 if u64::from(second & 0x7f) > CONTROL_BYTES_MAX => return Err(Violation::ControlTooLong),
            8..=10 => {}
            _ => return Err(Violation::Opcode),
        }
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        Ok(())
    }

    fn begin_payload(&mut self) -> Result<(), Violation> {
        let length = match self.header[1] & 0x7f {
            126 => {
                let length = u64::from(u16::from_be_bytes([self.header[2], self.header[3]]));
                if length < 126 {
                    return Err(Violation::Length);
                }
                length
            }
            127 => {
                let mut wide = [0; 8];
                wide.copy_from_slice(&self.header[2..10]);
                let length = u64::from_be_bytes(wide);
                if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                    return Err(Violation::Length);
                }
                length
            }
            short => u64::from(short),
        };
        self.payload_left = length;
        let (fin, opcode) = (self.header[0] & 0x80 != 0, self.header[0] & 0x0f);
        let mut key = [0; 4];
        key.copy_from_slice(&self.header[self.have - 4..self.have]);
        let is_control = opcode >= 8;
        self.payload = Payload { key, at: 0, is_data: !is_control, is_last: fin && !is_control };
        if is_control {
            return Ok(());
        }
        let text = (opcode == 1).then(Utf8::default);
        let mut message = self.message.unwrap_or(Message { bytes: 0, fragments: 0, text });
        message.bytes = message.bytes.saturating_add(length);
        message.fragments += 1;
        if message.bytes > self.message_bytes_max {
            return Err(Violation::MessageTooLarge);
        }
        if message.fragments > FRAGMENTS_MAX {
            return Err(Violation::TooManyFragments);
        }
        self.message = Some(message);
        self.end_payload()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 1_000;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut out = vec![first];
        match length {
            0..126 => out.push(0x80 | length as u8),
            126..65_536 => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let key = [1, 2, 3, 4];
        out.extend_from_slice(&key);
        out.extend((0..length).map(|n| b'x' ^ key[n % 4]));
        out
    }

    fn verdict(frames: &[Vec<u8>]) -> Result<(), Violation> {
        let mut guard = FrameGuard::new(MAX);
        frames.iter().try_for_each(|frame| guard.inspect(frame))
    }

    fn text_frame(first: u8, text: &[u8]) -> Vec<u8> {
        let key = [9, 8, 7, 6];
        let length = u8::try_from(text.len()).expect("short");
        let mut out = vec![first, 0x80 | length, key[0], key[1], key[2], key[3]];
        out.extend(text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    #[test]
    fn what_rfc_6455_allows_passes() {
        let cases: &[&[Vec<u8>]] = &[
            &[frame(0x81, 0)],
            &[frame(0x81, 125), frame(0x82, 126), frame(0x81, 1_000)],
            &[frame(0x01, 10), frame(0x00, 10), frame(0x80, 10), frame(0x81, 1_000)],
            &[frame(0x01, 10), frame(0x89, 125), frame(0x8a, 0), frame(0x80, 0)],
            &[frame(0x88, 2)],
        ];
        for case in cases {
            assert_eq!(verdict(case), Ok(()));
        }
    }

    #[test]
    fn what_rfc_6455_forbids_is_named() {
        let unmasked = vec![0x81, 0x01, b'a'];
        let long_form = vec![0x81, 0x80 | 126, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0];
        let longest_form = vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 200, 1, 2, 3, 4];
        let negative = vec![0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        let cases: &[(&[Vec<u8>], Violation)] = &[
            (&[unmasked], Violation::Unmasked),
            (&[frame(0xc1, 1)], Violation::ReservedBits),
            (&[frame(0xa1, 1)], Violation::ReservedBits),
            (&[frame(0x83, 1)], Violation::Opcode),
            (&[frame(0x8b, 1)], Violation::Opcode),
            (&[frame(0x09, 1)], Violation::ControlFragmented),
            (&[frame(0x89, 126)], Violation::ControlTooLong),
            (&[frame(0x8a, 126)], Violation::ControlTooLong),
            (&[frame(0x80, 1)], Violation::Continuation),
            (&[frame(0x01, 1), frame(0x81, 1)], Violation::Continuation),
            (&[long_form], Violation::Length),
            (&[longest_form], Violation::Length),
            (&[negative], Violation::Length),
            (&[frame(0x81, 1_001)], Violation::MessageTooLarge),
            (&[frame(0x01, 600), frame(0x00, 600)], Violation::MessageTooLarge),
        ];
        for (frames, expected) in cases {
            assert_eq!(verdict(frames), Err(*expected));
        }
        let endless: Vec<_> =
            (0..=FRAGMENTS_MAX).map(|n| frame(if n == 0 { 0x01 } else { 0x00 }, 1)).collect();
        assert_eq!(verdict(&endless), Err(Violation::TooManyFragments));
    }

    #[test]
    fn text_is_followed_over_fragments_and_binary_is_not() {
        let text = "käse".as_bytes();
        let (head, tail) = text.split_at(2);
        let ping = text_frame(0x89, b"\xff");
        let good = [text_frame(0x01, head), ping, text_frame(0x00, b""), text_frame(0x80, tail)];
        assert_eq!(verdict(&good), Ok(()));
        assert_eq!(verdict(&[text_frame(0x82, b"\xff"), text_frame(0x81, text)]), Ok(()));
        assert_eq!(verdict(&[text_frame(0x02, b"\xff"), text_frame(0x80, b"\xc3")]), Ok(()));
        for bad in [
            vec![text_frame(0x81, b"a\xff")],
            vec![text_frame(0x81, b"\xc3")],
            vec![text_frame(0x01, b"\xc3"), text_frame(0x80, b"")],
            vec![text_frame(0x01, b"\xc3"), text_frame(0x00, b"x")],
        ] {
            assert_eq!(verdict(&bad), Err(Violation::NotUtf8), "{bad:x?}");
        }
    }

    #[test]
    fn what_came_before_the_bad_frame_is_whole() {
        let (ping, text) = (text_frame(0x89, b"x"), text_frame(0x81, b"hello"));
        let good = [&ping[..], &text].concat();
        let mut guard = FrameGuard::new(MAX);
        assert_eq!(guard.inspect(&[&good[..], &[0xc1]].concat()), Ok(()), "half a header says nothing yet");
        assert!(guard.is_within());
        assert_eq!(guard.inspect(&[0x80]), Err(Violation::ReservedBits));
        assert_eq!(guard.take_whole(), Whole { frames: 2, bytes: good.len() });
        let bad_end = [&good[..], &text_frame(0x81, b"\xc3")].concat();
        let mut guard = FrameGuard::new(MAX);
        assert_eq!(guard.inspect(&bad_end), Err(Violation::NotUtf8));
        assert_eq!(guard.take_whole(), Whole { frames: 2, bytes: good.len() });
    }

    #[test]
    fn a_message_lasts_from_its_first_byte_to_the_end_of_its_last_fragment() {
        let (first, ping, last) = (text_frame(0x01, b"a"), text_frame(0x89, b""), text_frame(0x80, b"b"));
        let mut guard = FrameGuard::new(MAX);
        assert!(!guard.is_within());
        for bytes in [&first[..1], &first[1..], &ping, &last[..6]] {
            guard.inspect(bytes).unwrap();
            assert!(guard.is_within());
        }
        guard.inspect(&last[6..]).unwrap();
        assert!(!guard.is_within());
    }

    #[test]
    fn a_huge_length_is_refused_by_its_header_alone() {
        let mut guard = FrameGuard::new(MAX);
        let header = [0x81, 0x80 | 127, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(guard.inspect(&header), Err(Violation::MessageTooLarge));
    }

    proptest! {
        #[test]
        fn the_cut_never_changes_the_verdict(
            frames in proptest::collection::vec((any::<u8>(), 0_usize..1_200), 0..6),
            cuts in proptest::collection::vec(1_usize..9, 1..50),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, length)| frame(*first, *length)).collect();
            let mut at_once = FrameGuard::new(MAX);
            let whole = at_once.inspect(&bytes);
            let mut guard = FrameGuard::new(MAX);
            let (mut rest, mut at) = (bytes.as_slice(), 0);
            let mut cut = Ok(());
            while !rest.is_empty() && cut.is_ok() {
                let (head, tail) = rest.split_at(cuts[at % cuts.len()].min(rest.len()));
                cut = guard.inspect(head);
                (rest, at) = (tail, at + 1);
            }
            prop_assert_eq!(cut, whole);
            prop_assert_eq!(guard.take_whole(), at_once.take_whole());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = FrameGuard::new(MAX).inspect(&bytes);
        }
    }
}
