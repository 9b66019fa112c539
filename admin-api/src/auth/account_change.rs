//! A change of an account as a whole, in all tenants that it works in.
//!
//! Invariant: what ends a person's sessions ends those of every tenant, in the transaction that changes the account.

use std::sync::Arc;

use bus_schema::{AccountId, AgentId, SessionId, TenantId, Timestamp};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, audit_log, mailed_tokens, open_logins, sessions},
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Ended, Hashed};
use crate::{
    app::App,
    audit_log::Audited,
    clock,
    db::{Within, revoke},
    http::{Problem, RequestId},
};

pub struct AccountChange {
    transaction: Within,
    wake: Arc<Notify>,
    account: AccountId,
    request_id: RequestId,
    pub now: Timestamp,
}

impl AccountChange {
    pub async fn begin(app: &App, account: AccountId, request_id: &RequestId) -> Result<Self, Problem> {
        Ok(Self {
            transaction: Within::all(&app.pool).await?,
            wake: app.wake.clone(),
            account,
            request_id: request_id.clone(),
            now: clock::now(),
        })
    }

    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.transaction
    }

    pub async fn finish<T>(self, outcome: Result<T, Problem>) -> Result<T, Problem> {
        let done = self.transaction.finish(outcome).await?;
        self.wake.notify_one();
        Ok(done)
    }

    /// Gives the account a password; links that were sent before, and logins under way, count no longer.
    pub async fn set_password(&mut self, Hashed(hash): Hashed) -> Result<(), Problem> {
        let account = Id(self.account);
        diesel::update(accounts::table.find(account))
            .set((accounts::password_hash.eq(hash), accounts::updated_at.eq(At(self.now))))
            .execute(self.connection())
            .await?;
        let links = mailed_tokens::table
            .filter(mailed_tokens::account_id.eq(account).and(mailed_tokens::purpose.eq("reset")));
        diesel::delete(links).execute(self.connection()).await?;
        let logins = open_logins::table.filter(open_logins::account_id.eq(account));
        diesel::delete(logins).execute(self.connection()).await?;
        Ok(())
    }

    /// It is known now that the address is this person's.
    pub async fn verify_email(&mut self) -> Result<(), Problem> {
        diesel::update(accounts::table.find(Id(self.account)))
            .set(accounts::email_verified_at.eq(At(self.now)))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Ends all sessions of the person but this one.
    pub async fn end_sessions(&mut self, except: Option<SessionId>, why: Ended) -> Result<(), Problem> {
        for (tenant, agent) in self.places().await? {
            let mut open = diesel::update(sessions::table)
                .filter(sessions::tenant_id.eq(tenant).and(sessions::agent_id.eq(agent)))
                .filter(sessions::ended_at.is_null())
                .into_boxed();
            if let Some(kept) = except {
                open = open.filter(sessions::id.ne(Id(kept)));
            }
            let now = self.now;
            let ended: Vec<Id<SessionId>> = open
                .set((sessions::ended_at.eq(At(now)), sessions::ended_because.eq(why.word())))
                .returning(sessions::id)
                .get_results(self.connection())
                .await?;
            for session in ended {
                revoke(self.connection(), tenant.0, session.0, now).await?;
            }
        }
        Ok(())
    }

    /// Writes it down in each tenant.
    pub async fn audit(&mut self, action: &str) -> Result<(), Problem> {
        let (account, now, request_id) = (self.account, self.now, self.request_id.clone());
        for (tenant, agent) in self.places().await? {
            diesel::insert_into(audit_log::table)
                .values((
                    audit_log::tenant_id.eq(tenant),
                    audit_log::id.eq(Uuid::now_v7()),
                    audit_log::at.eq(At(now)),
                    audit_log::actor_id.eq(Some(agent)),
                    audit_log::action.eq(action),
                    audit_log::entity.eq(Audited::Account.name()),
                    audit_log::entity_id.eq(account.uuid()),
                    audit_log::fields.eq(Vec::<String>::new()),
                    audit_log::request_id.eq(request_id.as_str()),
                ))
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Where the person is an agent, also one who was deleted; not where an invitation waits.
    async fn places(&mut self) -> Result<Vec<(Id<TenantId>, Id<AgentId>)>, Problem> {
        let places = agents::table
            .filter(agents::account_id.eq(Id(self.account)).and(agents::invited_at.is_null()))
            .order((agents::tenant_id, agents::id))
            .select((agents::tenant_id, agents::id));
        Ok(places.load(self.connection()).await?)
    }
}
