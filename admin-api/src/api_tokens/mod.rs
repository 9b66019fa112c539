//! API tokens: what programs call this API with.
//!
//! Invariant: a token is shown once, when it is made; only its hash is stored.

mod read;
mod verify;
mod write;

pub use read::{ApiTokenView, get, list};
pub use verify::{Bot, bot};
pub use write::{MadeApiToken, NewApiToken, PatchApiToken, create, delete, patch};

use bus_schema::{AgentId, ApiTokenId, TenantId};
use diesel::prelude::*;
use persister::db::{At, Id, schema::config::api_tokens};

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_tokens)]
pub(crate) struct ApiTokenRow {
    tenant_id: Id<TenantId>,
    id: Id<ApiTokenId>,
    name: String,
    hash: Vec<u8>,
    hint: String,
    scopes: Vec<String>,
    created_by: Id<AgentId>,
    revision: i64,
    created_at: At,
    updated_at: At,
    expires_at: Option<At>,
    last_used_at: Option<At>,
    deleted_at: Option<At>,
}
