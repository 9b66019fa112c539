//! Tokens that are sent by mail: each proves that one reads what is sent to an address, once.
//!
//! Invariant: the newest mail's link alone counts; only its hash is stored.

use std::time::Duration;

use bus_schema::{AccountId, AgentId, TenantId, Timestamp};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::mailed_tokens};

use super::secret;
use crate::{
    clock,
    http::{Checks, Problem},
};

const RESET_FOR: Duration = Duration::from_secs(30 * 60);
const INVITATION_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Reset,
    /// Into a tenant, as an agent.
    Invitation(TenantId, AgentId),
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Purpose::Reset => "reset",
            Purpose::Invitation(..) => "invitation",
        }
    }

    pub const fn life(self) -> Duration {
        match self {
            Purpose::Reset => RESET_FOR,
            Purpose::Invitation(..) => INVITATION_FOR,
        }
    }

    const fn place(self) -> Option<(TenantId, AgentId)> {
        match self {
            Purpose::Reset => None,
            Purpose::Invitation(tenant, agent) => Some((tenant, agent)),
        }
    }
}

/// A token that counts now.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = mailed_tokens)]
pub struct Mailed {
    pub hash: Vec<u8>,
    pub account_id: Id<AccountId>,
    purpose: String,
    tenant_id: Option<Id<TenantId>>,
    agent_id: Option<Id<AgentId>>,
}

impl Mailed {
    pub fn is_reset(&self) -> bool {
        self.purpose == Purpose::Reset.word()
    }

    pub fn invitation(&self) -> Option<(TenantId, AgentId)> {
        Some((self.tenant_id?.0, self.agent_id?.0))
    }

    /// Uses it up; whether it still counted.
    pub async fn take(&self, connection: &mut AsyncPgConnection) -> Result<(), Problem> {
        let taken = diesel::delete(mailed_tokens::table.find(&self.hash)).execute(connection).await?;
        if taken == 1 { Ok(()) } else { Err(refused()) }
    }
}

/// A new token; those of the same purpose that were sent before count no longer.
pub async fn issue(
    connection: &mut AsyncPgConnection,
    account: AccountId,
    purpose: Purpose,
    now: Timestamp,
) -> Result<String, Problem> {
    let place = purpose.place();
    let before = mailed_tokens::table
        .filter(mailed_tokens::account_id.eq(Id(account)).and(mailed_tokens::purpose.eq(purpose.word())))
        .filter(mailed_tokens::tenant_id.is_not_distinct_from(place.map(|(tenant, _)| Id(tenant))));
    diesel::delete(before).execute(connection).await?;
    let token = secret::generate(secret::Purpose::Mailed);
    diesel::insert_into(mailed_tokens::table)
        .values((
            mailed_tokens::hash.eq(secret::hash(&token)),
            mailed_tokens::account_id.eq(Id(account)),
            mailed_tokens::purpose.eq(purpose.word()),
            mailed_tokens::tenant_id.eq(place.map(|(tenant, _)| Id(tenant))),
            mailed_tokens::agent_id.eq(place.map(|(_, agent)| Id(agent))),
            mailed_tokens::created_at.eq(At(now)),
            mailed_tokens::expires_at.eq(At(now.plus(purpose.life()))),
        ))
        .execute(connection)
        .await?;
    Ok(token)
}

pub async fn find(connection: &mut AsyncPgConnection, token: &str) -> Result<Mailed, Problem> {
    let found = mailed_tokens::table
        .find(secret::hash(token))
        .filter(mailed_tokens::expires_at.gt(At(clock::now())))
        .select(Mailed::as_select())
        .first(connection)
        .await
        .optional()?;
    found.ok_or_else(refused)
}

pub fn refused() -> Problem {
    Problem::value("/token", "does not count, or no longer: ask for another mail")
}

pub fn check(checks: &mut Checks, token: &str) {
    checks.that("/token", token.len() <= secret::LENGTH_MAX, "is no token of ours");
}
