//! Names of files, as people gave them and as browsers are told.
//!
//! Invariant: pure; a name holds no path, no control or direction character, and is never empty.

use std::fmt::Write as _;

use bus_schema::limits::NAME_CHARS_MAX;

const NAMELESS: &str = "file";

/// The last part of a path, without what could hide its ending.
pub fn clean(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    // The ending says what it is: of a long name the beginning goes.
    let kept = kept.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    let over = kept.chars().count().saturating_sub(NAME_CHARS_MAX);
    let kept: String = kept.chars().skip(over).collect();
    // Cut between words it may begin with a space once more.
    let kept = kept.trim_start();
    if kept.is_empty() { NAMELESS.to_owned() } else { kept.to_owned() }
}

/// Whether the character is not seen, and changes how others are: "exe.png" may be read "gnp.exe".
const fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `Content-Disposition` that makes a browser save the file under this name (RFC 6266).
pub fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let mut out = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_paths_and_tricks() {
        for (given, kept) in [
            ("a.png", "a.png"),
            ("../../etc/passwd", "passwd"),
            ("C:\\tmp\\a.png", "a.png"),
            ("a\r\nb\0.png", "ab.png"),
            ("photo\u{202e}gnp.exe", "photognp.exe"),
            ("a.exe. . ", "a.exe"),
            ("", NAMELESS),
            ("/", NAMELESS),
        ] {
            assert_eq!(clean(given), kept, "{given:?}");
        }
        let long = clean(&format!("{}.png", "ä".repeat(500)));
        assert!(long.chars().count() == NAME_CHARS_MAX && long.ends_with(".png"));
        assert_eq!(clean(&format!("x{}y.png", " ".repeat(NAME_CHARS_MAX - 5))), "y.png");
    }

    #[test]
    fn a_header_holds_any_name() {
        assert_eq!(disposition("a b.png"), "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png");
        assert_eq!(disposition("ä\"\\.p"), "attachment; filename=\"___.p\"; filename*=UTF-8''%C3%A4%22%5C.p");
        assert!(disposition("名前\n\u{7f}").is_ascii());
    }
}
