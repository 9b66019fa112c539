//! A row of the table, and how its frames are made.

/// A case.
pub struct Row {
    /// Autobahn's.
    pub number: String,
    pub send: Vec<Step>,
    /// In this order, before the end.
    pub expect: Vec<Seen>,
    pub end: End,
    /// Why it differs from what the suite asks.
    pub deviates: Option<&'static str>,
}

pub enum Step {
    /// In one write.
    Bytes(Vec<u8>),
    /// In writes of so many bytes.
    Chopped(Vec<u8>, usize),
    /// Go on when the next thing that is expected has come.
    Await,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Hello,
    /// A text came whole, and said this.
    Echo(String),
    /// A message came whole, and was no request.
    NoRequest,
    Pong(Vec<u8>),
    Closed(Option<u16>),
    Gone,
}

#[derive(Clone, Copy)]
pub enum End {
    /// The client closes, after all, with 1000, and gets it back.
    ByClient,
    /// The server does with this code, or sends the case's own close back.
    Closed(Option<u16>),
}

impl Row {
    /// All is well, and the client closes.
    pub fn good(number: impl Into<String>, send: Vec<Step>, expect: Vec<Seen>) -> Self {
        Self { number: number.into(), send, expect, end: End::ByClient, deviates: None }
    }

    /// The socket is closed with `code`.
    pub fn closed(number: impl Into<String>, code: u16, send: Vec<Step>, expect: Vec<Seen>) -> Self {
        Self { end: End::Closed(Some(code)), ..Self::good(number, send, expect) }
    }

    pub fn deviates(self, why: &'static str) -> Self {
        Self { deviates: Some(why), ..self }
    }
}

/// A request whose answer says `text` back.
pub fn request(text: &str) -> Vec<u8> {
    format!(r#"{{"request_id":"1","action":"{text}"}}"#).into_bytes()
}

/// A request of exactly so many bytes, and what its answer says.
pub fn request_of(length: usize) -> (Vec<u8>, Seen) {
    let text = "*".repeat(length - request("").len());
    (request(&text), Seen::Echo(text))
}

pub fn echo(text: &str) -> Seen {
    Seen::Echo(text.to_owned())
}

/// A frame with a key that changes every byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = crate::client::frame(first, payload);
    let head = frame.len() - payload.len();
    frame[head - 4..head].copy_from_slice(&KEY);
    frame[head..].iter_mut().zip(KEY.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    frame
}

pub fn bytes(first: u8, payload: &[u8]) -> Step {
    Step::Bytes(masked(first, payload))
}

/// All frames in one write.
pub fn joined(frames: &[(u8, &[u8])]) -> Step {
    Step::Bytes(concat(frames))
}

/// Each frame in a write of its own.
pub fn framewise(frames: &[(u8, &[u8])]) -> Vec<Step> {
    frames.iter().map(|(first, payload)| bytes(*first, payload)).collect()
}

/// Each byte in a write of its own.
pub fn bytewise(frames: &[(u8, &[u8])]) -> Step {
    Step::Chopped(concat(frames), 1)
}

/// One message in fragments of `size` bytes.
pub fn fragments(first: u8, message: &[u8], size: usize) -> Vec<u8> {
    let last = message.len().div_ceil(size) - 1;
    let frames = message.chunks(size).enumerate().map(|(n, part)| {
        let opcode = if n == 0 { first & 0x0f } else { 0 };
        masked(if n == last { 0x80 | opcode } else { opcode }, part)
    });
    frames.flatten().collect()
}

fn concat(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect()
}
