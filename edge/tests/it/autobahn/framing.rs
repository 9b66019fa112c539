//! Groups 1 to 5 and 10: frames, pings, reserved bits and opcodes, fragments.

use super::row::{
    Row,
    Seen::{NoRequest, Pong},
    Step, bytes, bytewise, echo, fragments, framewise, joined, masked, request, request_of,
};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const HELLO: &str = "Hello, world!";
const NO_UTF8: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
const LENGTHS: [usize; 6] = [125, 126, 127, 128, 65_535, 65_536];

const EMPTY: &str = "an empty text is no request: the push `error` answers it";
const NO_BINARY: &str = "no action is binary: the push `error` answers it";

pub fn rows() -> Vec<Row> {
    [texts(), binaries(), pings(), reserved_bits(), opcodes(), control_fragments(), fragmented(), split()]
        .into_iter()
        .flatten()
        .collect()
}

fn texts() -> Vec<Row> {
    let mut rows = vec![Row::good("1.1.1", vec![bytes(TEXT, b"")], vec![NoRequest]).deviates(EMPTY)];
    for (n, length) in (2..).zip(LENGTHS) {
        let (request, said) = request_of(length);
        rows.push(Row::good(format!("1.1.{n}"), vec![bytes(TEXT, &request)], vec![said]));
    }
    let (request, said) = request_of(65_536);
    rows.push(Row::good("1.1.8", vec![Step::Chopped(masked(TEXT, &request), 997)], vec![said]));
    rows
}

fn binaries() -> Vec<Row> {
    let row = |n: usize, step| Row::good(format!("1.2.{n}"), vec![step], vec![NoRequest]).deviates(NO_BINARY);
    let whole = |length| bytes(BINARY, &vec![0xfe; length]);
    let chopped = Step::Chopped(masked(BINARY, &[0xfe; 65_536]), 997);
    let mut rows = vec![row(1, whole(0))];
    rows.extend((2..).zip(LENGTHS).map(|(n, length)| row(n, whole(length))));
    rows.push(row(8, chopped));
    rows
}

fn pings() -> Vec<Row> {
    let long = [0xfe; 126];
    let ten: Vec<String> = (0..10).map(|n| format!("payload-{n}")).collect();
    let ten: Vec<(u8, &[u8])> = ten.iter().map(|payload| (PING, payload.as_bytes())).collect();
    let pongs = || ten.iter().map(|(_, payload)| Pong(payload.to_vec())).collect();
    let one = |number: &str, payload: &[u8]| {
        Row::good(number, vec![bytes(PING, payload)], vec![Pong(payload.to_vec())])
    };
    let unasked = b"unsolicited pong payload";
    vec![
        one("2.1", b""),
        one("2.2", HELLO.as_bytes()),
        one("2.3", NO_UTF8),
        one("2.4", &long[..125]),
        Row::closed("2.5", 1002, vec![bytes(PING, &long)], vec![]),
        Row::good("2.6", vec![bytewise(&[(PING, &long[..125])])], vec![Pong(long[..125].to_vec())]),
        Row::good("2.7", vec![bytes(PONG, b"")], vec![]),
        Row::good("2.8", vec![bytes(PONG, unasked)], vec![]),
        Row::good("2.9", vec![joined(&[(PONG, unasked), (PING, b"ping")])], vec![Pong(b"ping".to_vec())]),
        Row::good("2.10", framewise(&ten), pongs()),
        Row::good("2.11", vec![bytewise(&ten)], pongs()),
    ]
}

fn reserved_bits() -> Vec<Row> {
    let hello = request(HELLO);
    let rsv = |first: u8, bits: u8| first | bits << 4;
    let heard = || vec![echo(HELLO)];
    let after = |bits| [(TEXT, &hello[..]), (rsv(TEXT, bits), HELLO.as_bytes()), (PING, b"")];
    vec![
        Row::closed("3.1", 1002, vec![bytes(rsv(TEXT, 1), &hello)], vec![]),
        Row::closed("3.2", 1002, vec![joined(&after(2))], heard()),
        Row::closed("3.3", 1002, framewise(&after(3)), heard()),
        Row::closed("3.4", 1002, vec![bytewise(&after(4))], heard()),
        Row::closed("3.5", 1002, vec![bytes(rsv(BINARY, 5), NO_UTF8)], vec![]),
        Row::closed("3.6", 1002, vec![bytes(rsv(PING, 6), HELLO.as_bytes())], vec![]),
        Row::closed("3.7", 1002, vec![bytes(rsv(CLOSE, 7), b"")], vec![]),
    ]
}

fn opcodes() -> Vec<Row> {
    let hello = request(HELLO);
    let mut rows = Vec::new();
    for (group, opcodes) in [("4.1", [3, 4, 5, 6, 7]), ("4.2", [11, 12, 13, 14, 15])] {
        let first = opcodes.map(|opcode| 0x80 | opcode);
        let after = |first, payload| [(TEXT, &hello[..]), (first, payload), (PING, b"")];
        let hello = HELLO.as_bytes();
        for (n, send, expect) in [
            (1, vec![bytes(first[0], b"")], vec![]),
            (2, vec![bytes(first[1], b"reserved opcode payload")], vec![]),
            (3, vec![joined(&after(first[2], b""))], vec![echo(HELLO)]),
            (4, vec![joined(&after(first[3], hello))], vec![echo(HELLO)]),
            (5, vec![bytewise(&after(first[4], hello))], vec![echo(HELLO)]),
        ] {
            rows.push(Row::closed(format!("{group}.{n}"), 1002, send, expect));
        }
    }
    rows
}

fn control_fragments() -> Vec<Row> {
    let fragmented = |first| vec![joined(&[(first, b"fragment1"), (0x80, b"fragment2")])];
    vec![
        Row::closed("5.1", 1002, fragmented(0x09), vec![]),
        Row::closed("5.2", 1002, fragmented(0x0a), vec![]),
    ]
}

fn fragmented() -> Vec<Row> {
    let said = "fragment1fragment2";
    let whole = request(said);
    let (head, tail) = whole.split_at(20);
    let two: [(u8, &[u8]); 2] = [(0x01, head), (0x80, tail)];
    let with_ping: [(u8, &[u8]); 3] = [(0x01, head), (PING, b"ping payload"), (0x80, tail)];
    let ponged = || vec![Pong(b"ping payload".to_vec()), echo(said)];
    let stray = |first| [(first, &b"non-continuation payload"[..]), (TEXT, HELLO.as_bytes())];
    let refused = |number: &str, send| Row::closed(number, 1002, send, vec![]);
    let twice = |first| {
        let round: [(u8, &[u8]); 3] = [(first, b"fragment1"), (0x01, b"fragment2"), (0x80, b"fragment3")];
        vec![joined(&[round, round].concat())]
    };
    let after_two = [two[0], two[1], (0x00, &b"fragment3"[..]), (TEXT, b"fragment4")];
    vec![
        Row::good("5.3", vec![joined(&two)], vec![echo(said)]),
        Row::good("5.4", framewise(&two), vec![echo(said)]),
        Row::good("5.5", vec![bytewise(&two)], vec![echo(said)]),
        Row::good("5.6", vec![joined(&with_ping)], ponged()),
        Row::good("5.7", framewise(&with_ping), ponged()),
        Row::good("5.8", vec![bytewise(&with_ping)], ponged()),
        refused("5.9", vec![joined(&stray(0x80))]),
        refused("5.10", framewise(&stray(0x80))),
        refused("5.11", vec![bytewise(&stray(0x80))]),
        refused("5.12", vec![joined(&stray(0x00))]),
        refused("5.13", framewise(&stray(0x00))),
        refused("5.14", vec![bytewise(&stray(0x00))]),
        Row::closed("5.15", 1002, vec![joined(&after_two)], vec![echo(said)]),
        refused("5.16", twice(0x00)),
        refused("5.17", twice(0x80)),
        refused("5.18", vec![joined(&[(0x01, b"fragment1"), (TEXT, b"fragment2")])]),
    ]
}

/// Five fragments and two pings, with a pause until the first is answered; and a large message in fragments.
fn split() -> Vec<Row> {
    let said = "fragment1fragment2fragment3fragment4fragment5";
    let whole = request(said);
    let parts: Vec<&[u8]> = whole.chunks(whole.len().div_ceil(5)).collect();
    let first: [(u8, &[u8]); 3] = [(0x01, parts[0]), (0x00, parts[1]), (PING, b"pongme 1!")];
    let rest = [(0x00, parts[2]), (0x00, parts[3]), (PING, b"pongme 2!"), (0x80, parts[4])];
    let heard = || vec![Pong(b"pongme 1!".to_vec()), Pong(b"pongme 2!".to_vec()), echo(said)];
    let mut one_by_one = framewise(&first);
    one_by_one.push(Step::Await);
    one_by_one.extend(framewise(&rest));
    let (large, answer) = request_of(65_536);
    vec![
        Row::good("5.19", vec![joined(&first), Step::Await, joined(&rest)], heard()),
        Row::good("5.20", one_by_one, heard()),
        Row::good("10.1.1", vec![Step::Bytes(fragments(TEXT, &large, 1_300))], vec![answer]),
    ]
}
