//! Group 6: texts, good and bad. The sequences are those of Markus Kuhn's UTF-8 decoder test.

use super::row::{
    Row,
    Seen::{NoRequest, Pong},
    Step, bytes, echo, fragments, joined, masked, request,
};

const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
const EDITED: &[u8] = b"edited";
const SURROGATE: &[u8] = b"\xed\xa0\x80";
const TOO_HIGH: &[u8] = b"\xf4\x90\x80\x80";

const EMPTY: &str = "an empty text is no request: the push `error` answers it";
const CONTROL: &str = "JSON has no bare control character: it is no request, and the push `error` answers it";

pub fn rows() -> Vec<Row> {
    [whole(), bad(), at_once(), sequences()].into_iter().flatten().collect()
}

fn whole() -> Vec<Row> {
    let (middle, umlauts) = ("middle frame payload", "Hello-µ@ßöäüàá-UTF-8!!");
    let said = request(umlauts);
    // Between two characters, as the suite cuts it.
    let (head, tail) = said.split_at(said.len() - "üàá-UTF-8!!\"}".len());
    let kosme = std::str::from_utf8(KOSME).unwrap();
    let by_byte = |text: &str| vec![Step::Bytes(fragments(0x81, &request(text), 1))];
    vec![
        Row::good("6.1.1", vec![bytes(0x81, b"")], vec![NoRequest]).deviates(EMPTY),
        Row::good("6.1.2", vec![joined(&[(0x01, b""), (0x00, b""), (0x80, b"")])], vec![NoRequest])
            .deviates(EMPTY),
        Row::good(
            "6.1.3",
            vec![joined(&[(0x01, b""), (0x00, &request(middle)), (0x80, b"")])],
            vec![echo(middle)],
        ),
        Row::good("6.2.1", vec![bytes(0x81, &said)], vec![echo(umlauts)]),
        Row::good("6.2.2", vec![joined(&[(0x01, head), (0x80, tail)])], vec![echo(umlauts)]),
        Row::good("6.2.3", by_byte(umlauts), vec![echo(umlauts)]),
        Row::good("6.2.4", by_byte(kosme), vec![echo(kosme)]),
    ]
}

fn bad() -> Vec<Row> {
    let text = [KOSME, SURROGATE, EDITED].concat();
    vec![
        Row::closed("6.3.1", 1007, vec![bytes(0x81, &text)], vec![]),
        Row::closed("6.3.2", 1007, vec![Step::Bytes(fragments(0x81, &text, 1))], vec![]),
    ]
}

/// Refused by the byte that makes it no text: the rest is never sent.
fn at_once() -> Vec<Row> {
    let text = [KOSME, TOO_HIGH, EDITED].concat();
    let in_frames = |number: &str, first: &[u8], second: &[u8]| {
        // The pong shows that what came before was taken.
        let send = vec![joined(&[(0x01, first), (0x89, b"so far")]), Step::Await, bytes(0x00, second)];
        Row::closed(number, 1007, send, vec![Pong(b"so far".to_vec())])
    };
    let in_a_frame = |number: &str, first: usize, second: usize| {
        let frame = masked(0x81, &text);
        let head = frame.len() - text.len();
        let (begin, end) = (head + first, head + first + second);
        let send = vec![Step::Bytes(frame[..begin].to_vec()), Step::Bytes(frame[begin..end].to_vec())];
        Row::closed(number, 1007, send, vec![])
    };
    vec![
        in_frames("6.4.1", KOSME, TOO_HIGH),
        in_frames("6.4.2", &text[..12], &text[12..13]),
        in_a_frame("6.4.3", KOSME.len(), TOO_HIGH.len()),
        in_a_frame("6.4.4", 12, 1),
    ]
}

/// 6.5 to 6.23: what is text is said back, what is not is refused.
fn sequences() -> Vec<Row> {
    let row = |(group, n, sequence): (usize, usize, &Vec<u8>)| {
        let number = format!("6.{group}.{n}");
        match std::str::from_utf8(sequence) {
            Err(_) => Row::closed(number, 1007, vec![bytes(0x81, sequence)], vec![]),
            Ok("\0") => Row::good(number, vec![bytes(0x81, b"\0")], vec![NoRequest]).deviates(CONTROL),
            Ok(text) => Row::good(number, vec![bytes(0x81, &request(text))], vec![echo(text)]),
        }
    };
    let groups = (5..).zip(groups()).collect::<Vec<_>>();
    let numbered = groups.iter().flat_map(|(group, (good, sequences))| {
        let good = *good;
        sequences.iter().zip(1..).map(move |(sequence, n)| {
            // What this table says is text and is not must not depend on the code that decides it here.
            let is_text = std::str::from_utf8(sequence).is_ok();
            assert!(good.is_none_or(|good| good == is_text), "6.{group}.{n}");
            (*group, n, sequence)
        })
    });
    numbered.map(row).collect()
}

/// Each group, and whether all of it is text, where that is so.
fn groups() -> Vec<(Option<bool>, Vec<Vec<u8>>)> {
    let of = |sequences: &[&[u8]]| sequences.iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>();
    let incomplete: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    let mut stray = of(&[
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80",
        b"\x80\xbf\x80\xbf",
        b"\x80\xbf\x80\xbf\x80",
        b"\x80\xbf\x80\xbf\x80\xbf",
    ]);
    stray.push((0x80..0xbf).collect());
    let lonely = [0xc0..0xdf, 0xe0..0xef, 0xf0..0xf7, 0xf8..0xfb, 0xfc..0xfd];
    let lonely = lonely.map(|starts: std::ops::Range<u8>| starts.flat_map(|start| [start, b' ']).collect());
    let surrogates: [&[u8]; 7] = [
        SURROGATE,
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbe\x80",
        b"\xed\xbf\xbf",
    ];
    let pairs = surrogates[..4]
        .iter()
        .flat_map(|high| [surrogates[4], surrogates[6]].map(|low| [high, low].concat()))
        .collect();
    vec![
        (
            Some(true),
            of(&[
                b"hello$world",
                b"hello\xc2\xa2world",
                b"hello\xe2\x82\xacworld",
                b"hello\xf0\xa4\xad\xa2world",
                KOSME,
            ]),
        ),
        (None, (1..=KOSME.len()).map(|end| KOSME[..end].to_vec()).collect()),
        (Some(true), of(&[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"])),
        (Some(false), of(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"])),
        (Some(true), of(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"])),
        (Some(false), of(&[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"])),
        (None, of(&[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", TOO_HIGH])),
        (Some(false), stray),
        (Some(false), lonely.into()),
        (Some(false), of(&incomplete)),
        (Some(false), vec![incomplete.concat()]),
        (Some(false), of(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"])),
        (
            Some(false),
            of(&[
                b"\xc0\xaf",
                b"\xe0\x80\xaf",
                b"\xf0\x80\x80\xaf",
                b"\xf8\x80\x80\x80\xaf",
                b"\xfc\x80\x80\x80\x80\xaf",
            ]),
        ),
        (
            Some(false),
            of(&[
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            ]),
        ),
        (
            Some(false),
            of(&[
                b"\xc0\x80",
                b"\xe0\x80\x80",
                b"\xf0\x80\x80\x80",
                b"\xf8\x80\x80\x80\x80",
                b"\xfc\x80\x80\x80\x80\x80",
            ]),
        ),
        (Some(false), of(&surrogates)),
        (Some(false), pairs),
        (Some(true), noncharacters()),
        (Some(true), (0xb9..=0xbf).map(|last| vec![0xef, 0xbf, last]).collect()),
    ]
}

/// U+FFFE, U+FFFF, and the last two of every plane beyond.
fn noncharacters() -> Vec<Vec<u8>> {
    let planes = (0..=16_u32).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    planes.map(|code| char::from_u32(code).unwrap().to_string().into_bytes()).collect()
}
