//! Which nats-server is new enough.
//!
//! Invariant: a version that cannot be read counts as too old.

use std::fmt;

/// A server's version, without what may follow the patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

/// The first version with atomic batches.
pub const FLOOR: Version = Version { major: 2, minor: 12, patch: 0 };

impl Version {
    /// Reads `2.15.1`, `v2.12.0-RC.1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let core = text.split(['-', '+']).next()?;
        let mut parts = core.split('.').map(|part| part.parse().ok());
        let version =
            Self { major: parts.next()??, minor: parts.next()??, patch: parts.next().unwrap_or(Some(0))? };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("2.9.10") < FLOOR && version("2.11.99") < FLOOR);
        assert!(version("2.12.0") >= FLOOR && version("v2.15.1-RC.2") >= FLOOR && version("3.0") >= FLOOR);
        for bad in ["", "2", "two.twelve", "2.12.0.1", "dev"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
