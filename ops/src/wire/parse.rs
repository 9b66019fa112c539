//! What the server says, cut into operations. Pure.
//!
//! Invariant: how the bytes are cut never changes what is read; an operation is taken when it is whole, and a length
//! beyond the bound ends the connection instead of growing the buffer.

use std::ops::Range;

/// Longest line but `INFO`, which names the servers of a cluster.
const LINE_MAX: usize = 64 * 1024;
/// Longest message: what servers take at most is 64 MiB, and far less by default.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;

/// One operation; ranges lie in the buffer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Message { sid: u64, subject: Range<usize>, headers: Range<usize>, payload: Range<usize> },
    Ping,
    Pong,
    Ok,
    Info(Range<usize>),
    Error(Range<usize>),
}

/// The server does not speak the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server said something that is not of the NATS protocol")]
pub struct Garbled;

/// The next operation and where it ends; none: more bytes are needed.
pub fn next(buffer: &[u8]) -> Result<Option<(Op, usize)>, Garbled> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > LINE_MAX { Err(Garbled) } else { Ok(None) };
    };
    let line_end = end.checked_sub(1).filter(|at| buffer[*at] == b'\r').ok_or(Garbled)?;
    let line = &buffer[..line_end];
    let after = end + 1;
    match line.first().ok_or(Garbled)? {
        b'M' if line.starts_with(b"MSG ") => message(buffer, 4..line_end, after, false),
        b'H' if line.starts_with(b"HMSG ") => message(buffer, 5..line_end, after, true),
        b'P' if line == b"PING" => Ok(Some((Op::Ping, after))),
        b'P' if line == b"PONG" => Ok(Some((Op::Pong, after))),
        b'+' => Ok(Some((Op::Ok, after))),
        b'-' if line.starts_with(b"-ERR") => Ok(Some((Op::Error(4..line_end), after))),
        b'I' if line.starts_with(b"INFO ") => Ok(Some((Op::Info(5..line_end), after))),
        _ => Err(Garbled),
    }
}

/// `<subject> <sid> [reply] [header bytes] <all bytes>`, then the bytes.
fn message(
    buffer: &[u8],
    line: Range<usize>,
    after: usize,
    has_headers: bool,
) -> Result<Option<(Op, usize)>, Garbled> {
    let mut words: [Range<usize>; 5] = Default::default();
    let mut count = 0;
    let mut at = line.start;
    for word in buffer[line].split(|byte| *byte == b' ') {
        if !word.is_empty() {
            *words.get_mut(count).ok_or(Garbled)? = at..at + word.len();
            count += 1;
        }
        at += word.len() + 1;
    }
    let sizes = if has_headers { 2 } else { 1 };
    // Subject, sid and sizes; a reply may stand between.
    if count < 2 + sizes || count > 3 + sizes {
        return Err(Garbled);
    }
    let number = |word: &Range<usize>| decimal(&buffer[word.clone()]).ok_or(Garbled);
    let sid = number(&words[1])?;
    let total = usize::try_from(number(&words[count - 1])?).map_err(|_| Garbled)?;
    let headers = match has_headers {
        true => usize::try_from(number(&words[count - 2])?).map_err(|_| Garbled)?,
        false => 0,
    };
    if total > MESSAGE_MAX || headers > total {
        return Err(Garbled);
    }
    let end = after + total;
    if buffer.len() < end + 2 {
        return Ok(None);
    }
    if &buffer[end..end + 2] != b"\r\n" {
        return Err(Garbled);
    }
    let (headers, payload) = (after..after + headers, after + headers..end);
    Ok(Some((Op::Message { sid, subject: words[0].clone(), headers, payload }, end + 2)))
}

/// A number of decimal digits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while let Ok(Some((op, end))) = next(bytes) {
            let text = |range: &Range<usize>| String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
            found.push(match &op {
                Op::Message { sid, subject, headers, payload } => {
                    format!("{sid} {} {:?} {}", text(subject), text(headers), text(payload))
                }
                Op::Info(range) | Op::Error(range) => text(range),
                Op::Ping | Op::Pong | Op::Ok => format!("{op:?}"),
            });
            bytes = &bytes[end..];
        }
        found
    }

    #[test]
    fn operations_of_every_kind_are_read() {
        let bytes = b"INFO {\"a\":1}\r\nPING\r\nPONG\r\n+OK\r\n-ERR 'x'\r\nMSG a.b 7 2\r\nhi\r\nMSG a 8 r.s 0\r\n\r\n\
            HMSG a 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHMSG a 9 r 12 12\r\nNATS/1.0\r\n\r\n\r\n";
        assert_eq!(
            all(bytes),
            [
                "{\"a\":1}",
                "Ping",
                "Pong",
                "Ok",
                " 'x'",
                "7 a.b \"\" hi",
                "8 a \"\" ",
                "9 a \"NATS/1.0\\r\\n\\r\\n\" hi",
                "9 a \"NATS/1.0\\r\\n\\r\\n\" "
            ]
        );
        for cut in 0..bytes.len() {
            let whole = all(bytes);
            assert!(whole.starts_with(&all(&bytes[..cut])), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for bad in [
            "\r\n",
            "HELLO\r\n",
            "PING\n",
            "MSG a\r\n",
            "MSG a b 1\r\n",
            "MSG a 1 x\r\n",
            "MSG a 1 2\r\nhiXX",
            "MSG a 1 99999999999\r\n",
            "HMSG a 1 5 4\r\n1234\r\n",
            "MSG a 1 r s 2\r\nhi\r\n",
        ] {
            assert_eq!(next(bad.as_bytes()), Err(Garbled), "{bad:?}");
        }
        assert_eq!(next(&vec![b'x'; LINE_MAX + 1]), Err(Garbled));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = next(&bytes);
        }

        #[test]
        fn no_line_panics(line in "(MSG|HMSG|INFO|-ERR|PING)[ -~]{0,40}\r\n[a\r\n]{0,20}") {
            let _ = next(line.as_bytes());
        }
    }
}
