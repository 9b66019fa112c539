//! Puts `seq` and `at` in front of a stored payload, without parsing it.
//!
//! They are the stream's sequence and time, known only once the event is stored; every reader (edge, persister,
//! replay) uses this one function, so all of them show the same bytes.

use crate::Timestamp;

/// Longest prefix: `{"seq":` + 20 digits + `,"at":"` + 24 characters + `",`.
pub const PREFIX_MAX: usize = 7 + 20 + 7 + Timestamp::TEXT_LENGTH + 2;

/// Appends the event as readers see it to `out`. `stored` must be a JSON object, as everything in the log is; what is
/// not is appended as it stands, for the reader's decoder to refuse.
pub fn splice_into(out: &mut Vec<u8>, seq: u64, at: Timestamp, stored: &[u8]) {
    let Some((b'{', rest)) = stored.split_first() else {
        out.extend_from_slice(stored);
        return;
    };
    out.reserve(PREFIX_MAX + stored.len());
    out.extend_from_slice(b"{\"seq\":");
    push_decimal(out, seq);
    out.extend_from_slice(b",\"at\":\"");
    out.extend_from_slice(&at.text());
    out.push(b'"');
    if rest.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(rest);
}

/// The event as readers see it.
pub fn splice(seq: u64, at: Timestamp, stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    splice_into(&mut out, seq, at, stored);
    out
}

/// Its length.
pub fn spliced_len(seq: u64, stored: &[u8]) -> usize {
    let Some((b'{', rest)) = stored.split_first() else { return stored.len() };
    let digits = seq.checked_ilog10().map_or(1, |log| log as usize + 1);
    let comma = usize::from(rest.first() != Some(&b'}'));
    7 + digits + 7 + Timestamp::TEXT_LENGTH + 1 + comma + rest.len()
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_length_is_known_without_splicing(seq: u64, stored in prop_oneof![
            Just("{}".to_owned()),
            "\\{\"v\":[0-9]{1,9}\\}",
            "[^{]{0,9}",
        ]) {
            let at = Timestamp::from_millis(1_795_222_923_004);
            for seq in [seq, seq % 1_000, 0, 9, 10] {
                prop_assert_eq!(spliced_len(seq, stored.as_bytes()), splice(seq, at, stored.as_bytes()).len());
            }
        }
    }

    #[test]
    fn prefix_comes_first_and_the_rest_is_untouched() {
        let seen = splice(4711, Timestamp::from_millis(1_795_222_923_004), br#"{"v":1, "kind":"message"}"#);
        assert_eq!(
            std::str::from_utf8(&seen).unwrap(),
            r#"{"seq":4711,"at":"2026-11-21T01:02:03.004Z","v":1, "kind":"message"}"#
        );
        assert_eq!(splice(1, Timestamp::default(), b"{}"), br#"{"seq":1,"at":"1970-01-01T00:00:00.000Z"}"#);
        assert_eq!(splice(1, Timestamp::default(), b"null"), b"null");
    }

    proptest! {
        #[test]
        fn result_is_json_with_both_fields(seq: u64, ms in 0_i64..4_102_444_800_000, text: String) {
            let stored = serde_json::to_vec(&serde_json::json!({"v": 1, "data": {"text": text}})).unwrap();
            let seen: serde_json::Value = serde_json::from_slice(&splice(seq, Timestamp::from_millis(ms), &stored)).unwrap();
            prop_assert_eq!(seen["seq"].as_u64(), Some(seq));
            prop_assert_eq!(seen["data"]["text"].as_str(), Some(text.as_str()));
        }
    }
}
