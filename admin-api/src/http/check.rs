//! Checks of values, each error with the pointer of its field.
//!
//! Invariant: all errors of a request are reported at once, and no text that Postgres would refuse gets through.

use std::ops::RangeInclusive;

use bus_schema::{FieldError, limits, skill};
use serde_json::Value;

use super::Problem;

/// Length of URLs.
const URL_CHARS_MAX: usize = 2048;
const ORIGINS_MAX: usize = 100;
const PASSWORD_CHARS: RangeInclusive<usize> = 10..=200;
/// Levels of JSON whose shape is its writer's affair: well within what every reader of it parses.
const JSON_DEPTH_MAX: usize = 16;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    pub fn wrong(&mut self, pointer: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, message));
    }

    pub fn that(&mut self, pointer: &str, holds: bool, message: &str) {
        if !holds {
            self.wrong(pointer, message);
        }
    }

    /// Text of one line with a length in characters.
    pub fn text(&mut self, pointer: &str, text: &str, chars: RangeInclusive<usize>) {
        let count = text.chars().count();
        if !chars.contains(&count) {
            let message = format!("must have {} to {} characters", chars.start(), chars.end());
            self.wrong(pointer, message);
        } else if text.chars().any(char::is_control) {
            self.wrong(pointer, "must not hold control characters");
        }
    }

    pub fn name(&mut self, pointer: &str, text: &str) {
        self.text(pointer, text, 1..=limits::NAME_CHARS_MAX);
        self.that(pointer, text.is_empty() || !text.trim().is_empty(), "must not be blank");
    }

    /// An e-mail address, as far as it can be judged without sending to it.
    pub fn email(&mut self, pointer: &str, text: &str) {
        let parts = text.rsplit_once('@');
        let plain =
            |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
        let right =
            parts.is_some_and(|(local, domain)| plain(local) && plain(domain) && !local.contains('@'));
        self.that(
            pointer,
            right && text.len() <= limits::EMAIL_CHARS_MAX,
            "must be an e-mail address such as ann@example.com",
        );
    }

    pub fn password(&mut self, pointer: &str, text: &str) {
        let count = text.chars().count();
        if !PASSWORD_CHARS.contains(&count) {
            let message =
                format!("must have {} to {} characters", PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
            self.wrong(pointer, message);
        }
    }

    /// A password that may be wrong: no longer than one can be.
    pub fn password_guess(&mut self, pointer: &str, text: &str) {
        self.that(pointer, text.chars().count() <= *PASSWORD_CHARS.end(), "must have at most 200 characters");
    }

    pub fn url(&mut self, pointer: &str, text: &str) {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let right = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        self.that(
            pointer,
            right && plain && text.chars().count() <= URL_CHARS_MAX,
            "must be a URL such as https://example.com/picture.png",
        );
    }

    /// Origins of pages: `https://host[:port]`, and what `further` allows besides.
    pub fn origins(&mut self, pointer: &str, origins: &[String], further: &[&str]) {
        self.that(pointer, origins.len() <= ORIGINS_MAX, "must hold at most 100 origins");
        for (at, origin) in origins.iter().enumerate() {
            let right = is_origin(origin) || further.contains(&origin.as_str());
            self.that(&format!("{pointer}/{at}"), right, "must be an origin such as https://www.example.com");
        }
    }

    /// JSON whose shape is its writer's affair, as `jsonb` can keep it and every reader parse it again.
    pub fn json<'a>(&mut self, pointer: &str, fields: impl IntoIterator<Item = (&'a str, &'a Value)>) {
        if let Some(flaw) = fields.into_iter().find_map(|(key, field)| flaw(key, field, 1)) {
            self.wrong(pointer, flaw);
        }
    }

    /// What an agent has, or a thread wants.
    pub fn skills(&mut self, pointer: &str, skills: &[String]) {
        self.errors.extend(skill::flaws(pointer, skills));
    }
}

/// What keeps this part of free JSON from being stored or read.
fn flaw(key: &str, value: &Value, depth: usize) -> Option<String> {
    if depth > JSON_DEPTH_MAX {
        return Some(format!("must not be nested deeper than {JSON_DEPTH_MAX}"));
    }
    let text = value.as_str().unwrap_or_default();
    if key.contains('\0') || text.contains('\0') {
        return Some("must not hold the character U+0000".to_owned());
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| flaw("", item, depth + 1)),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| flaw(key, field, depth + 1)),
        _ => None,
    }
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    rest.is_some_and(|host| !host.is_empty() && host.len() <= 255 && host.chars().all(allowed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(check: impl Fn(&mut Checks)) -> bool {
        let mut checks = Checks::default();
        check(&mut checks);
        checks.finish().is_err()
    }

    #[test]
    fn values_are_judged() {
        for good in ["a@b", "a.b+c@example.com", "ü@exämple.de"] {
            assert!(!refused(|c| c.email("/e", good)), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a b@c", "a@b@c", "a\u{0}@b", &format!("{}@b", "x".repeat(260))] {
            assert!(refused(|c| c.email("/e", bad)), "{bad}");
        }
        for good in ["https://a.example", "http://localhost:3000", "http://[::1]:80"] {
            assert!(!refused(|c| c.origins("/o", &[good.to_owned()], &[])), "{good}");
        }
        for bad in ["*", "a.example", "https://a.example/", "https://", "HTTPS://A.example", "null"] {
            assert!(refused(|c| c.origins("/o", &[bad.to_owned()], &[])), "{bad}");
        }
        assert!(!refused(|c| c.origins("/o", &["*".to_owned()], &["*"])));
        for bad in ["", " ", "a\nb", "\u{0}", &"x".repeat(201)] {
            assert!(refused(|c| c.name("/n", bad)), "{bad:?}");
        }
    }

    #[test]
    fn free_json_can_be_stored_and_read_again() {
        let nested = |levels| (0..levels).fold(json!("x"), |inner, _| json!([inner]));
        for good in [json!("a\nb"), json!("C:\\u0000"), json!({ "a": [1, null, true] }), nested(15)] {
            assert!(!refused(|c| c.json("/j", [("k", &good)])), "{good}");
        }
        for bad in [json!("\0"), json!({ "a\0": 1 }), json!([["\0"]]), nested(16)] {
            assert!(refused(|c| c.json("/j", [("k", &bad)])), "{bad}");
        }
        assert!(refused(|c| c.json("/j", [("\0", &json!(1))])));
    }
}
