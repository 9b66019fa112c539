//! What tokens say (contract §4, "Tokens"). Signed with EdDSA; `typ` is `at+jwt` and `kid` is required.

use serde::{Deserialize, Serialize};

use crate::{AgentId, SessionId, TenantId, VisitorId, WidgetId};

/// The `typ` of every token's header.
pub const TOKEN_TYPE: &str = "at+jwt";
pub const STAFF_AUDIENCE: &str = "chatbus-staff";
pub const VISITOR_AUDIENCE: &str = "chatbus-visitor";
pub const STAFF_ISSUER: &str = "chatbus-admin-api";
pub const VISITOR_ISSUER: &str = "chatbus-edge";
/// Clock difference that is forgiven.
pub const LEEWAY_SECONDS: u64 = 30;
/// Longest life of a staff token.
pub const STAFF_TOKEN_SECONDS: u64 = 600;
pub const VISITOR_TOKEN_SECONDS: u64 = 3600;
/// Longest life of an identity token.
pub const IDENTITY_TOKEN_SECONDS: u64 = 3600;

/// Roles of staff: each includes what the one before may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Agent,
    Supervisor,
    Admin,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Supervisor => "supervisor",
            Role::Admin => "admin",
        }
    }
}

/// A staff token: minted by admin-api alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffClaims {
    pub iss: String,
    pub aud: String,
    pub sub: AgentId,
    pub tid: TenantId,
    pub role: Role,
    pub sid: SessionId,
    /// Seconds since 1970.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
}

/// A visitor token: minted by edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitorClaims {
    pub iss: String,
    pub aud: String,
    pub sub: VisitorId,
    pub tid: TenantId,
    pub wid: WidgetId,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
}
