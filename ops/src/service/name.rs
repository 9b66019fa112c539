//! Which process this is; the one closed set that settings, metrics and bus users are keyed by.

use std::fmt;

/// A kind of Chatbus process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Edge,
    Router,
    Persister,
    AdminApi,
    Ops,
}

impl Service {
    /// Every kind, in the order documentation lists them.
    pub const ALL: [Self; 5] = [Self::Edge, Self::Router, Self::Persister, Self::AdminApi, Self::Ops];

    /// The name people type: the binary's name and the bus user's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Router => "router",
            Self::Persister => "persister",
            Self::AdminApi => "admin-api",
            Self::Ops => "ops",
        }
    }

    /// The name inside metric names, where a dash is not allowed.
    pub const fn metric_name(self) -> &'static str {
        match self {
            Self::AdminApi => "admin",
            Self::Edge | Self::Router | Self::Persister | Self::Ops => self.name(),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
