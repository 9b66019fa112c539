//! Who an API token stands for.

use bus_schema::{ApiTokenId, TenantId, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{
    At, Id,
    schema::config::{api_tokens, tenants},
};

use crate::{app::App, auth::secret, clock, http::Problem, scope::Scope};

/// When a token was used is written down once in this time.
const USED_EVERY_MILLIS: i64 = 60_000;
/// The contract's times reach no further.
const NEVER: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// A program that calls.
#[derive(Debug, Clone)]
pub struct Bot {
    pub tenant: TenantId,
    pub shard: i32,
    pub id: ApiTokenId,
    pub scopes: Vec<Scope>,
    pub expires_at: Timestamp,
}

/// Whether this is meant to be an API token.
pub fn is_one(token: &str) -> bool {
    token.starts_with(secret::Purpose::ApiToken.prefix())
}

/// The bot behind a token that counts now.
pub async fn bot(app: &App, token: &str) -> Result<Option<Bot>, Problem> {
    if !is_one(token) || token.len() > secret::LENGTH_MAX {
        return Ok(None);
    }
    let now = clock::now();
    let mut connection = app.pool.get().await?;
    type Row = (Id<TenantId>, Id<ApiTokenId>, i32, Vec<String>, Option<At>, Option<At>);
    let found: Option<Row> = api_tokens::table
        .inner_join(tenants::table.on(tenants::tenant_id.eq(api_tokens::tenant_id)))
        .filter(api_tokens::hash.eq(secret::hash(token)).and(api_tokens::deleted_at.is_null()))
        .filter(api_tokens::expires_at.is_null().or(api_tokens::expires_at.gt(At(now))))
        .filter(tenants::deleted_at.is_null())
        .select((
            api_tokens::tenant_id,
            api_tokens::id,
            tenants::shard,
            api_tokens::scopes,
            api_tokens::expires_at,
            api_tokens::last_used_at,
        ))
        .first(&mut connection)
        .await
        .optional()?;
    let Some((tenant, id, shard, scopes, expires_at, used)) = found else { return Ok(None) };
    if used.is_none_or(|used| now.millis() - used.0.millis() >= USED_EVERY_MILLIS) {
        diesel::update(api_tokens::table.find((tenant, id)))
            .set(api_tokens::last_used_at.eq(At(now)))
            .execute(&mut connection)
            .await?;
    }
    Ok(Some(Bot {
        tenant: tenant.0,
        shard,
        id: id.0,
        // A scope of a newer version means nothing here.
        scopes: scopes.iter().filter_map(|name| Scope::parse(name)).collect(),
        expires_at: expires_at.map_or(NEVER, |at| at.0),
    }))
}
