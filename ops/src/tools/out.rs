//! Writing to people and to programs.
//!
//! Results go to standard output, remarks to standard error, so that a result can be piped whole. A closed pipe is
//! nobody's error.

use std::io::{self, IsTerminal, Write};

/// A result.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A remark on what is being done.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `text` in bold where people read it and did not ask for plain text.
pub fn bold(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !io::stdout().is_terminal() { text.to_owned() } else { format!("\x1b[1m{text}\x1b[0m") }
}
