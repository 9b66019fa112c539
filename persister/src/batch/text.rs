//! Text that Postgres can hold.
//!
//! Invariant: what comes out has no NUL, which JSON can say and Postgres cannot keep; all else is untouched. The
//! exact bytes are in `events.payload`, where NUL is an escape.

const REPLACEMENT: &str = "\u{FFFD}";

/// For `text` columns.
pub fn clean(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', REPLACEMENT) } else { text.to_owned() }
}

/// For `jsonb` columns: `json` is a document that serde wrote.
pub fn clean_json(json: String) -> String {
    const NUL: &str = "\\u0000";
    if !json.contains(NUL) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        // Two characters at once, so that the backslash of an escaped backslash starts nothing.
        let length = if escape.starts_with(NUL) { NUL.len() } else { 2 };
        out.push_str(if escape.starts_with(NUL) { REPLACEMENT } else { &escape[..length] });
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_keeps_its_meaning_but_for_nul(text in "[\\x00\\\\u0a\"é]{0,12}") {
            let json = clean_json(serde_json::to_string(&text).unwrap());
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), clean(&text));
            prop_assert!(!clean(&text).contains('\0'));
        }
    }
}
