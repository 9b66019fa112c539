//! What is written: lines of the NATS client protocol. Pure.
//!
//! Invariant: a subject or header value with a blank or a control character never gets into a line.

/// Headers of one message, as they travel.
#[derive(Debug, Clone, Default)]
pub struct HeaderBlock(Vec<u8>);

const VERSION: &[u8] = b"NATS/1.0\r\n";

impl HeaderBlock {
    /// Adds one; a value that would break the line is a mistake of the caller, and makes the message invalid.
    pub fn add(&mut self, name: &str, value: &str) {
        if self.0.is_empty() {
            self.0.extend_from_slice(VERSION);
        }
        debug_assert!(is_token(name) && !value.bytes().any(|byte| byte.is_ascii_control()));
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
        self.0.extend_from_slice(b"\r\n");
    }

    pub fn add_number(&mut self, name: &str, value: u64) {
        let mut digits = [0; DIGITS_MAX];
        self.add(name, decimal(value, &mut digits));
    }

    /// Bytes on the way, with the line that ends them.
    pub fn len(&self) -> usize {
        if self.0.is_empty() { 0 } else { self.0.len() + 2 }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether this can stand in a line as one word.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub fn subscribe(out: &mut Vec<u8>, sid: u64, subject: &str) {
    let mut digits = [0; DIGITS_MAX];
    for part in ["SUB ", subject, " ", decimal(sid, &mut digits), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

pub fn unsubscribe(out: &mut Vec<u8>, sid: u64) {
    let mut digits = [0; DIGITS_MAX];
    for part in ["UNSUB ", decimal(sid, &mut digits), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A message whose answer goes to `inbox` and `token`, joined; without an inbox nobody answers.
pub fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<(&str, u64)>,
    headers: &HeaderBlock,
    payload: &[u8],
) {
    let mut digits = [0; DIGITS_MAX];
    out.reserve(64 + subject.len() + headers.len() + payload.len());
    out.extend_from_slice(if headers.is_empty() { b"PUB ".as_slice() } else { b"HPUB ".as_slice() });
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if let Some((inbox, token)) = reply {
        out.extend_from_slice(inbox.as_bytes());
        out.extend_from_slice(decimal(token, &mut digits).as_bytes());
        out.push(b' ');
    }
    if !headers.is_empty() {
        out.extend_from_slice(decimal(headers.len() as u64, &mut digits).as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(decimal((headers.len() + payload.len()) as u64, &mut digits).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !headers.is_empty() {
        out.extend_from_slice(&headers.0);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

const DIGITS_MAX: usize = 20;

fn decimal(mut value: u64, digits: &mut [u8; DIGITS_MAX]) -> &str {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_protocol() {
        let mut out = Vec::new();
        subscribe(&mut out, 7, "live.a.>");
        unsubscribe(&mut out, u64::MAX);
        publish(&mut out, "a.b", None, &HeaderBlock::default(), b"hi");
        let mut headers = HeaderBlock::default();
        headers.add("Nats-Msg-Id", "x y");
        headers.add_number("N", 0);
        publish(&mut out, "a.b", Some(("_INBOX.q.", 10)), &headers, b"hi");
        let text = "SUB live.a.> 7\r\nUNSUB 18446744073709551615\r\nPUB a.b 2\r\nhi\r\n\
                    HPUB a.b _INBOX.q.10 36 38\r\nNATS/1.0\r\nNats-Msg-Id: x y\r\nN: 0\r\n\r\nhi\r\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), text);
        assert_eq!(headers.len(), 36);
    }

    #[test]
    fn words_are_told_from_what_breaks_a_line() {
        assert!(is_token("chat.v1.0.>"));
        for bad in ["", "a b", "a\r\nPUB b", "a\tb", "ä"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
