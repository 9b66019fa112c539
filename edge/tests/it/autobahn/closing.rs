//! Group 7: closing.

use super::row::{End, Row, Step, bytes, echo, joined, request};

const CLOSE: u8 = 0x88;
/// Good ones.
const CODES: [u16; 13] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const BAD_CODES: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
/// No range of RFC 6455 has them, and it does not say what follows.
const BEYOND: [u16; 2] = [5000, 65535];

const TOO_LARGE: &str = "256 KiB are over the limit of a message, which closes with 1009";

pub fn rows() -> Vec<Row> {
    [order(), payloads(), codes()].into_iter().flatten().collect()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// What comes after a close is not heard.
fn order() -> Vec<Row> {
    let hello = request("Hello World!");
    let normal = close(1000, b"");
    let ended =
        |number: &str, frames: &[(u8, &[u8])]| Row::closed(number, 1000, vec![joined(frames)], vec![]);
    let large = vec![b'x'; 256 * 1024];
    vec![
        Row::good("7.1.1", vec![bytes(0x81, &hello)], vec![echo("Hello World!")]),
        ended("7.1.2", &[(CLOSE, &normal), (CLOSE, b"")]),
        ended("7.1.3", &[(CLOSE, &normal), (0x89, b"")]),
        ended("7.1.4", &[(CLOSE, &normal), (0x81, &hello)]),
        ended("7.1.5", &[(0x01, &hello[..9]), (CLOSE, &normal), (0x80, &hello[9..])]),
        Row::closed(
            "7.1.6",
            1009,
            vec![joined(&[(0x81, &large), (0x81, &hello), (CLOSE, &normal), (0x89, b"")])],
            vec![],
        )
        .deviates(TOO_LARGE),
    ]
}

fn payloads() -> Vec<Row> {
    let row = |number: &str, code: u16, payload: &[u8]| {
        Row::closed(number, code, vec![bytes(CLOSE, payload)], vec![])
    };
    let no_text = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    vec![
        Row { end: End::Closed(None), ..row("7.3.1", 1000, b"") },
        row("7.3.2", 1002, b"a"),
        row("7.3.3", 1000, &close(1000, b"")),
        row("7.3.4", 1000, &close(1000, b"Hello World!")),
        row("7.3.5", 1000, &close(1000, &[b'*'; 123])),
        row("7.3.6", 1002, &close(1000, &[b'*'; 124])),
        row("7.5.1", 1007, &close(1000, no_text)),
    ]
}

fn codes() -> Vec<Row> {
    let row = |group: &str, n: usize, code: u16, answer: u16| {
        let send: Vec<Step> = vec![bytes(CLOSE, &close(code, b""))];
        Row::closed(format!("{group}.{n}"), answer, send, vec![])
    };
    let good = (1..).zip(CODES).map(|(n, code)| row("7.7", n, code, code));
    let bad = (1..).zip(BAD_CODES).map(|(n, code)| row("7.9", n, code, 1002));
    let beyond = (1..).zip(BEYOND).map(|(n, code)| row("7.13", n, code, 1002));
    good.chain(bad).chain(beyond).collect()
}
