//! What an API token may do: scopes, and which route asks for which.
//!
//! Invariant: what no scope names, no token may do; accounts, tokens, erasure and who comes back are people's own affair.

use http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A scope of an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    #[serde(rename = "agents:read")]
    AgentsRead,
    #[serde(rename = "agents:write")]
    AgentsWrite,
    #[serde(rename = "analytics:read")]
    AnalyticsRead,
    #[serde(rename = "configuration:read")]
    ConfigurationRead,
    #[serde(rename = "configuration:write")]
    ConfigurationWrite,
    #[serde(rename = "conversations:read")]
    ConversationsRead,
    #[serde(rename = "conversations:write")]
    ConversationsWrite,
}

impl Scope {
    pub const ALL: [Self; 7] = [
        Self::AgentsRead,
        Self::AgentsWrite,
        Self::AnalyticsRead,
        Self::ConfigurationRead,
        Self::ConfigurationWrite,
        Self::ConversationsRead,
        Self::ConversationsWrite,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::AnalyticsRead => "analytics:read",
            Self::ConfigurationRead => "configuration:read",
            Self::ConfigurationWrite => "configuration:write",
            Self::ConversationsRead => "conversations:read",
            Self::ConversationsWrite => "conversations:write",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// What a route asks for; none: no token may call it.
    pub fn of_route(method: &Method, path: &str) -> Option<Self> {
        let area = path.strip_prefix("/v1/")?.split('/').next()?;
        let read = *method == Method::GET;
        let either = |reads, writes| Some(if read { reads } else { writes });
        match area {
            // Nothing brings back what was erased: people do that.
            "visitors" if *method == Method::DELETE => None,
            // Whoever comes back has the role and the password of before: it may be who made the token.
            "agents" if path.ends_with("/restore") => None,
            // Whoever has it is any of the tenant's customers.
            "widgets" if path.ends_with("/rotate-identity-secret") => None,
            "agents" => either(Self::AgentsRead, Self::AgentsWrite),
            "conversations" | "threads" | "events" | "search" | "unread-count" | "visitors" => {
                either(Self::ConversationsRead, Self::ConversationsWrite)
            }
            "groups" | "tags" | "canned-responses" | "action-templates" | "widgets" | "tenant"
            | "webhooks" | "audit-log" => either(Self::ConfigurationRead, Self::ConfigurationWrite),
            "analytics" | "admin" if read => Some(Self::AnalyticsRead),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_on_the_wire() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
            assert_eq!(Scope::parse(scope.name()), Some(scope));
        }
    }

    #[test]
    fn accounts_and_tokens_are_for_people_alone() {
        for (method, path, wanted) in [
            (Method::POST, "/v1/api-tokens", None),
            (Method::POST, "/v1/auth/password", None),
            (Method::GET, "/v1/auth/me", None),
            (Method::POST, "/v1/admin/anything", None),
            (Method::GET, "/v1/unheard-of", None),
            (Method::DELETE, "/v1/visitors/{id}", None),
            (Method::PATCH, "/v1/visitors/{id}", Some(Scope::ConversationsWrite)),
            (Method::GET, "/v1/conversations/{id}", Some(Scope::ConversationsRead)),
            (Method::POST, "/v1/agents/{id}/restore", None),
            (Method::POST, "/v1/widgets/{id}/rotate-identity-secret", None),
            (Method::POST, "/v1/widgets/{id}/rotate-key", Some(Scope::ConfigurationWrite)),
            (Method::PATCH, "/v1/agents/{id}", Some(Scope::AgentsWrite)),
            (Method::DELETE, "/v1/tags/{id}", Some(Scope::ConfigurationWrite)),
        ] {
            assert_eq!(Scope::of_route(&method, path), wanted, "{method} {path}");
        }
    }
}
