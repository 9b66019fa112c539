//! Time-based one-time passwords (RFC 6238): six digits, every 30 seconds, HMAC-SHA1, as all authenticators know them.
//!
//! Invariant: pure; a code counts in its own step and the one before and after, for clocks that differ.

use aws_lc_rs::hmac;
use bus_schema::Timestamp;

pub const SECRET_BYTES: usize = 20;
const STEP_MILLIS: i64 = 30_000;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What authenticators show the code under.
const ISSUER: &str = "Chatbus";

/// The step whose code this is, if it is one that counts now.
pub fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    if code.len() != DIGITS || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let wanted: u32 = code.parse().ok()?;
    let step = now.millis().div_euclid(STEP_MILLIS);
    // All are computed: how long it takes does not tell which one it was.
    let steps = [step - 1, step, step + 1].map(|step| (step, code_at(secret, step)));
    steps.into_iter().find(|(_, code)| *code == wanted).map(|(step, _)| step)
}

/// The code of a step (RFC 4226 §5.3).
fn code_at(secret: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0xf);
    let word = [tag[offset], tag[offset + 1], tag[offset + 2], tag[offset + 3]];
    (u32::from_be_bytes(word) & 0x7fff_ffff) % MODULUS
}

/// As people type it.
pub fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut five = [0; 5];
        five[..chunk.len()].copy_from_slice(chunk);
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for at in 0..(chunk.len() * 8).div_ceil(5) {
            let index = (bits >> (35 - 5 * at)) & 31;
            out.push(char::from(ALPHABET[index as usize]));
        }
    }
    out
}

/// What a QR code holds.
pub fn uri(secret: &str, email: &str) -> String {
    let label: String = email
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!(
        "otpauth://totp/{ISSUER}:{label}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period=30"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfcs() {
        // RFC 4226 appendix D.
        let hotp = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (counter, code) in (0..).zip(hotp) {
            assert_eq!(code_at(SECRET, counter), code, "{counter}");
        }
        // RFC 6238 appendix B, the last six of its eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_millis(seconds * 1000);
            assert_eq!(step_of(SECRET, code, now), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_one_step_early_and_late_and_no_more() {
        let at = |step: i64| Timestamp::from_millis(step * STEP_MILLIS);
        let code = format!("{:06}", code_at(SECRET, 1000));
        for (step, counts) in [(998, false), (999, true), (1000, true), (1001, true), (1002, false)] {
            assert_eq!(step_of(SECRET, &code, at(step)).is_some(), counts, "{step}");
        }
        for bad in ["", "12345", "1234567", "abcdef", "+12345", "１２３４５６"] {
            assert_eq!(step_of(SECRET, bad, at(1000)), None, "{bad}");
        }
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        // RFC 4648 §10, without its padding.
        for (plain, coded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
        assert!(
            uri("ABC", "ann+x@b.example").starts_with("otpauth://totp/Chatbus:ann%2Bx@b.example?secret=ABC&")
        );
    }
}
