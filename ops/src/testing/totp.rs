//! What an authenticator shows: RFC 6238 with the parameters every one of them knows (SHA-1, six digits, 30 seconds).

use aws_lc_rs::hmac;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const STEP_SECONDS: u64 = 30;

/// The codes of a secret in Base32, now and in the step after.
pub fn totp(secret: &str) -> [String; 2] {
    let value = |c: u8| ALPHABET.iter().position(|a| *a == c).expect("a secret is Base32");
    let bits: String = secret.bytes().map(|c| format!("{:05b}", value(c))).collect();
    let byte = |at: usize| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).expect("eight bits");
    let bytes: Vec<u8> = (0..bits.len() / 8).map(byte).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let step = since.as_secs() / STEP_SECONDS;
    [step, step + 1].map(|step| {
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let word = tag.as_ref()[at..at + 4].try_into().map(u32::from_be_bytes).expect("four bytes");
        format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
    })
}
