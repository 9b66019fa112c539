//! What kinds of values settings have, and how the text of each is read.
//!
//! Invariant: a `Value` of a kind is always well formed, so accessors never fail on what was validated.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::peer::Proxies;

/// The longest time that any setting may name: a day. Nothing that waits for so long can be told from what hangs.
const MILLIS_MAX: u64 = 24 * 60 * 60 * 1000;

/// What a setting's text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A URL with one of these schemes.
    Url(&'static [&'static str]),
    /// One or more such URLs, separated by commas.
    Urls(&'static [&'static str]),
    Addr,
    Millis,
    /// A whole number, at least the first and at most the second.
    Int(u64, u64),
    Bool,
    /// Words separated by commas; may be empty.
    List,
    /// Whole numbers of 16 bits separated by commas.
    Ints,
    /// Networks (CIDR) separated by commas; may be empty.
    Networks,
    /// The path of a file or directory.
    Path,
}

/// A setting's value after validation.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Secret(String),
    Addr(SocketAddr),
    Millis(Duration),
    Int(u64),
    Bool(bool),
    List(Vec<String>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(redacted)"),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Secret(_) => f.write_str("(secret)"),
            Self::Addr(addr) => addr.fmt(f),
            Self::Millis(time) => time.as_millis().fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

impl Kind {
    /// Reads `text`, or says what would be right.
    pub fn read(self, text: &str, secret: bool) -> Result<Value, String> {
        let value = match self {
            Self::Text => Value::Text(text.to_owned()),
            Self::Path if text.contains('\0') => return Err(self.hint()),
            Self::Path => Value::Text(text.to_owned()),
            Self::OneOf(words) if words.contains(&text) => Value::Text(text.to_owned()),
            Self::OneOf(_) => return Err(self.hint()),
            Self::Url(schemes) if is_url(text, schemes) => Value::Text(text.to_owned()),
            Self::Url(_) => return Err(self.hint()),
            Self::Urls(schemes) if text.split(',').all(|url| is_url(url.trim(), schemes)) => {
                Value::Text(text.to_owned())
            }
            Self::Urls(_) => return Err(self.hint()),
            Self::Addr => Value::Addr(text.parse().map_err(|_| self.hint())?),
            Self::Millis => match text.parse::<u64>() {
                Ok(time) if time <= MILLIS_MAX => Value::Millis(Duration::from_millis(time)),
                Ok(_) | Err(_) => return Err(self.hint()),
            },
            Self::Int(least, most) => match text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Value::Int(number),
                Ok(_) | Err(_) => return Err(self.hint()),
            },
            Self::Bool => Value::Bool(text.parse().map_err(|_| self.hint())?),
            Self::List => Value::List(split(text)),
            Self::Networks => {
                let items = split(text);
                Proxies::parse(&items).map_err(|_| self.hint())?;
                Value::List(items)
            }
            Self::Ints => {
                let items = split(text);
                if items.is_empty() || items.iter().any(|item| item.parse::<u16>().is_err()) {
                    return Err(self.hint());
                }
                Value::List(items)
            }
        };
        Ok(match value {
            Value::Text(text) if secret => Value::Secret(text),
            other => other,
        })
    }

    /// What a right value looks like, as the end of "must be …".
    pub fn hint(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Url(schemes) => format!("a URL such as {}://host:port", schemes.join(":// or ")),
            Self::Urls(schemes) => {
                format!(
                    "one or more URLs such as {}://host:port, separated by commas",
                    schemes.join(":// or ")
                )
            }
            Self::Addr => "an address and port such as 127.0.0.1:7700".to_owned(),
            Self::Millis => format!("a whole number of milliseconds, at most {MILLIS_MAX} (a day)"),
            Self::Int(least, u64::MAX) => format!("a whole number, {least} or more"),
            Self::Int(least, most) => format!("a whole number from {least} to {most}"),
            Self::Bool => "true or false".to_owned(),
            Self::List => "words separated by commas".to_owned(),
            Self::Ints => "whole numbers from 0 to 65535, separated by commas".to_owned(),
            Self::Networks => "networks such as 10.0.0.0/8, separated by commas".to_owned(),
            Self::Path => "a path".to_owned(),
        }
    }
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    schemes.contains(&scheme)
        && !host.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',')
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_well_formed_and_refuses_the_rest() {
        let urls = Kind::Urls(&["nats", "tls"]);
        let cases: &[(Kind, &str, bool)] = &[
            (Kind::Addr, "127.0.0.1:7700", true),
            (Kind::Addr, "[::1]:0", true),
            (Kind::Addr, "localhost", false),
            (Kind::Millis, "0", true),
            (Kind::Millis, "-1", false),
            (Kind::Millis, "10s", false),
            (Kind::Int(1, 3), "3", true),
            (Kind::Int(1, 3), "4", false),
            (Kind::Bool, "true", true),
            (Kind::Bool, "yes", false),
            (urls, "nats://a:1,tls://b:2", true),
            (urls, "http://a", false),
            (urls, "nats://", false),
            (Kind::Url(&["https"]), "https://a b", false),
            (Kind::Ints, "0, 1", true),
            (Kind::Ints, "", false),
            (Kind::Ints, "70000", false),
            (Kind::Networks, "", true),
            (Kind::Networks, "10.0.0.0/8, fd00::/8", true),
            (Kind::Networks, "10.0.0.0/33", false),
            (Kind::OneOf(&["a"]), "b", false),
        ];
        for (kind, text, right) in cases {
            assert_eq!(kind.read(text, false).is_ok(), *right, "{kind:?} {text}");
        }
    }

    #[test]
    fn a_secret_shows_in_no_format() {
        let value = Kind::Text.read("hunter2", true).unwrap();
        assert!(!format!("{value} {value:?}").contains("hunter2"));
    }
}
