//! Version numbers as servers print them.
//!
//! Parsing takes the first dotted number of a line, so `v2.15.1`, `PostgreSQL) 18.6` and `16beta1` all have an order.

use std::fmt;

/// A server's version; what a server leaves out is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the first number of `text`, with the dotted parts that follow it.
    pub fn find(text: &str) -> Option<Self> {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let number: &str = text[start..].split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
        let major = parts.next()??;
        let mut rest = || parts.next().flatten().unwrap_or(0);
        Some(Self { major, minor: rest(), patch: rest() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn reads_what_servers_print() {
        assert_eq!(Version::find("nats-server: v2.15.1"), Some(Version::new(2, 15, 1)));
        assert_eq!(Version::find("postgres (PostgreSQL) 18.6"), Some(Version::new(18, 6, 0)));
        assert_eq!(Version::find("postgres (PostgreSQL) 17beta2"), Some(Version::new(17, 0, 0)));
        assert_eq!(Version::find("no number"), None);
    }

    #[test]
    fn orders_by_part() {
        assert!(Version::new(2, 9, 10) < Version::new(2, 12, 0));
        assert!(Version::new(15, 0, 0) <= Version::new(15, 18, 0));
    }
}
