//! Fuzzing on the stable toolchain: a kept corpus, replayed and then mutated from a seed.
//!
//! Invariant: an input is made from the seed and its number alone, so that what failed can be made again; a failure
//! prints the input as a line for the corpus.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Largest input: what a client may send, and a little more.
const INPUT_MAX: usize = 80 * 1024;
/// Changes made to one input.
const CHANGES_MAX: usize = 8;
/// One input that takes longer hangs.
const INPUT_WITHIN: Duration = Duration::from_secs(5);
/// How much the process may have grown after a run: what is decoded is dropped again.
const GROWTH_MAX: u64 = 256 << 20;
/// Mutation after the replay, unless `CHATBUS_FUZZ_SECONDS` says otherwise.
const DEFAULT: Duration = Duration::from_millis(1_500);

/// What breaks parsers.
const WORDS: &[&[u8]] = &[
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"0",
    b"1e999",
    b"-0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"4294967296",
    b"256",
    b"0.5",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xff",
    b"\xc3",
    b"\xf4\x90",
    b"\0",
    b"\r\n",
    b".",
    b"*",
    b">",
    b" ",
    b"/",
    b"~1",
    b"..",
    b"%00",
    b"\"a\":",
    b"\xe2\x80\xae",
];

/// What a run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fuzzed {
    /// Kept examples, and those of them that were understood.
    pub replayed: usize,
    pub replayed_well: usize,
    /// Examples that were made of them, and those of them that were understood.
    pub mutated: u64,
    pub mutated_well: u64,
}

/// Examples of which mutation begins.
#[derive(Debug, Default)]
pub struct Corpus {
    entries: Vec<Vec<u8>>,
}

impl Corpus {
    /// One example a line.
    pub fn lines(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
        Self { entries: lines.map(|line| line.as_bytes().to_vec()).collect() }
    }

    /// One example a line, in hexadecimal digits.
    pub fn hex(text: &str) -> Self {
        let Self { entries } = Self::lines(text);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        };
        Self { entries: entries.iter().map(|line| line.chunks(2).map(byte).collect()).collect() }
    }

    /// Each file of a directory.
    pub fn files(dir: &Path) -> std::io::Result<Self> {
        let mut paths = std::fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        Ok(Self { entries: paths.iter().map(std::fs::read).collect::<Result<_, _>>()? })
    }

    pub fn with(mut self, more: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.entries.extend(more);
        self
    }

    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }
}

/// Replays the corpus, and then mutates it for a while. `CHATBUS_SEED` repeats a run. The target says whether it
/// understood an input: of the kept ones it must understand some, or it never gets to what it is to be tried at.
pub fn fuzz(name: &str, corpus: &Corpus, target: impl Fn(&[u8]) -> bool) -> Fuzzed {
    assert!(!corpus.entries.is_empty(), "{name}: nothing to begin with");
    let seed = env::var("CHATBUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let seconds = env::var("CHATBUS_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let budget = seconds.map_or(DEFAULT, Duration::from_secs);
    let mut fuzzed = Fuzzed::default();
    for entry in &corpus.entries {
        fuzzed.replayed += 1;
        fuzzed.replayed_well += usize::from(run(name, seed, entry, &target));
    }
    assert!(fuzzed.replayed_well > 0, "{name}: nothing that is kept is understood");
    let grown = resident();
    let words = words(&corpus.entries);
    let end = Instant::now() + budget;
    while Instant::now() < end {
        let mut chance = StdRng::seed_from_u64(seed ^ fuzzed.mutated);
        let understood = run(name, seed, &mutate(&mut chance, &corpus.entries, &words), &target);
        fuzzed.mutated_well += u64::from(understood);
        fuzzed.mutated += 1;
    }
    let grown = resident().saturating_sub(grown);
    assert!(grown < GROWTH_MAX, "{name}: {grown} bytes more than before, seed {seed}");
    let Fuzzed { replayed, replayed_well, mutated, mutated_well } = fuzzed;
    eprintln!(
        "{name}, seed {seed}: {replayed} kept inputs ({replayed_well} understood) and {mutated} mutated ones \
         ({mutated_well}) in {budget:?}"
    );
    fuzzed
}

fn run(name: &str, seed: u64, input: &[u8], target: &impl Fn(&[u8]) -> bool) -> bool {
    let began = Instant::now();
    let caught = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = began.elapsed();
    if caught.is_err() || took > INPUT_WITHIN {
        let text = String::from_utf8_lossy(input);
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        // The harness shows it with the failed test.
        eprintln!("{name}, seed {seed}: failed after {took:?} on\n{text}\n{hex}");
    }
    let understood = caught.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(took <= INPUT_WITHIN, "{name}: one input took {took:?}");
    understood
}

/// Strings and numbers of the corpus, to be put elsewhere.
fn words(entries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let tokens = entries.iter().flat_map(|entry| {
        let cut = |byte: &u8| matches!(byte, b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'.' | b' ');
        entry.split(cut).filter(|word| (1..=64).contains(&word.len()))
    });
    let mut words: Vec<Vec<u8>> = tokens.map(<[u8]>::to_vec).collect();
    words.sort();
    words.dedup();
    words.extend(WORDS.iter().map(|word| word.to_vec()));
    words
}

fn mutate(chance: &mut StdRng, entries: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries[chance.random_range(0..entries.len())].clone();
    for _ in 0..chance.random_range(1..=CHANGES_MAX) {
        change(chance, &mut out, entries, words);
        out.truncate(INPUT_MAX);
    }
    out
}

fn change(chance: &mut StdRng, out: &mut Vec<u8>, entries: &[Vec<u8>], words: &[Vec<u8>]) {
    let at = chance.random_range(0..=out.len());
    let end = chance.random_range(at..=out.len());
    match chance.random_range(0..10_u8) {
        0 if at < out.len() => out[at] ^= 1 << chance.random_range(0..8_u8),
        1 if at < out.len() => out[at] = chance.random(),
        2 => out.truncate(at),
        3 => drop(out.drain(at..end)),
        4 => {
            let part = out[at..end].to_vec();
            out.splice(at..at, part);
        }
        5 => {
            let other = &entries[chance.random_range(0..entries.len())];
            let from = chance.random_range(0..=other.len());
            out.splice(at.., other[from..].iter().copied());
        }
        6 => {
            let word = &words[chance.random_range(0..words.len())];
            // Deep or long, now and then.
            let times = if chance.random_ratio(1, 20) { chance.random_range(2..2_000) } else { 1 };
            out.splice(at..at, word.repeat(times));
        }
        7 => {
            let word = &words[chance.random_range(0..words.len())];
            let end = (at + word.len()).min(out.len());
            out.splice(at..end, word.iter().copied());
        }
        8 => {
            // One token for another, which keeps the form and changes the meaning.
            let digits = out[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let word = &words[chance.random_range(0..words.len())];
            out.splice(at..at + digits, word.iter().copied());
        }
        _ => {
            let byte = chance.random();
            out.insert(at, byte);
        }
    }
}

/// Bytes of the process in memory; 0 where nobody says.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutation_finds_what_a_parser_does_not_expect() {
        let corpus = Corpus::lines(r#"{"count":1,"text":"a"}"#);
        let words = words(corpus.entries());
        let wrong = |input: &[u8]| {
            let value: Result<serde_json::Value, _> = serde_json::from_slice(input);
            value.is_ok_and(|value| value["count"].is_null())
        };
        let made = |n| mutate(&mut StdRng::seed_from_u64(n), corpus.entries(), &words);
        assert!((0..20_000).any(|n| wrong(&made(n))), "a missing or null field is tried");
        assert_eq!(made(7), made(7), "the same number makes the same input");
        assert!((0..2_000).all(|n| made(n).len() <= INPUT_MAX));
    }

    #[test]
    #[should_panic(expected = "a zero")]
    fn a_panic_fails_the_run() {
        let refuse = |input: &[u8]| {
            assert!(!input.contains(&0), "a zero");
            true
        };
        fuzz("refuses zeros", &Corpus::hex("00"), refuse);
    }

    #[test]
    #[should_panic(expected = "nothing that is kept is understood")]
    fn a_target_that_understands_nothing_fails_the_run() {
        fuzz("deaf", &Corpus::hex("00"), |_| false);
    }
}
