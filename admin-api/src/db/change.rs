//! A change of a tenant's configuration: rows, audit and outbox in one transaction.
//!
//! Invariant: changes of one tenant follow each other (each takes the tenant's counter first), touch no other
//! tenant's rows, and the bus is told of exactly those that were committed.

use std::sync::Arc;

use bus_schema::{AgentId, GroupId, SessionId, TenantId, Timestamp, config::Record, stream};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id, Pool,
    schema::config::{agents, audit_log, group_members, groups, outbox, tenants},
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{GroupRow, MemberRow, Within};
use crate::{audit_log::Audited, clock, http::Problem};

/// On whose behalf a change is made.
#[derive(Debug, Clone)]
pub struct By {
    pub tenant: TenantId,
    /// None: the system.
    pub agent: Option<AgentId>,
    pub request_id: String,
}

/// A transaction whose rows get the tenant's next revision.
pub struct Change {
    connection: Within,
    by: By,
    wake: Arc<Notify>,
    pub revision: i64,
    pub now: Timestamp,
}

impl Change {
    pub async fn begin(pool: &Pool, wake: &Arc<Notify>, by: By) -> Result<Self, Problem> {
        let mut connection = Within::write(pool, by.tenant).await?;
        let counter = diesel::update(tenants::table.find(Id(by.tenant)))
            .set(tenants::counter.eq(tenants::counter + 1))
            .returning(tenants::counter)
            .get_result::<i64>(&mut *connection)
            .await
            .optional()?;
        let revision = counter.ok_or_else(Problem::not_found)?;
        Ok(Self { connection, by, wake: wake.clone(), revision, now: clock::now() })
    }

    /// For a tenant that is made in this very transaction, by an account that may be of others.
    pub async fn begin_tenant(pool: &Pool, wake: &Arc<Notify>, by: By) -> Result<Self, Problem> {
        let connection = Within::all(pool).await?;
        Ok(Self { connection, by, wake: wake.clone(), revision: 1, now: clock::now() })
    }

    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    pub fn tenant(&self) -> TenantId {
        self.by.tenant
    }

    /// Commits what went well and takes back what did not.
    pub async fn finish<T>(self, outcome: Result<T, Problem>) -> Result<T, Problem> {
        let done = self.connection.finish(outcome).await?;
        self.wake.notify_one();
        Ok(done)
    }

    /// Tells edges and routers.
    pub async fn publish(&mut self, record: &Record) -> Result<(), Problem> {
        let revision = i64::try_from(record.revision()).unwrap_or(i64::MAX);
        self.enqueue(stream::CONFIG.name, record.key(), revision, record.encode()).await
    }

    /// Tells edges to close the sockets of a session that ended early.
    pub async fn revoke(&mut self, session: SessionId) -> Result<(), Problem> {
        revoke(&mut self.connection, self.by.tenant, session, self.now).await
    }

    async fn enqueue(
        &mut self,
        bucket: &str,
        key: String,
        revision: i64,
        value: Vec<u8>,
    ) -> Result<(), Problem> {
        enqueue(&mut self.connection, self.by.tenant, self.now, (bucket, key, revision, value)).await
    }

    /// Remembers who did it: `fields` by name, never by value.
    pub async fn audit(
        &mut self,
        action: &str,
        entity: Audited,
        id: Uuid,
        fields: &[&str],
    ) -> Result<(), Problem> {
        diesel::insert_into(audit_log::table)
            .values((
                audit_log::tenant_id.eq(Id(self.by.tenant)),
                audit_log::id.eq(Uuid::now_v7()),
                audit_log::at.eq(At(self.now)),
                audit_log::actor_id.eq(self.by.agent.map(Id)),
                audit_log::action.eq(action),
                audit_log::entity.eq(entity.name()),
                audit_log::entity_id.eq(id),
                audit_log::fields.eq(fields),
                audit_log::request_id.eq(&self.by.request_id),
            ))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Publishes groups whose members changed, with the new revision.
    pub async fn touch_groups(&mut self, ids: &[GroupId]) -> Result<(), Problem> {
        for id in ids {
            let found = diesel::update(groups::table.find((Id(self.by.tenant), Id(*id))))
                .set((groups::revision.eq(self.revision), groups::updated_at.eq(At(self.now))))
                .returning(GroupRow::as_returning())
                .get_result::<GroupRow>(&mut *self.connection)
                .await
                .optional()?;
            let Some(row) = found else { continue };
            let members = members_of(&mut self.connection, self.by.tenant, &[Id(*id)]).await?;
            let record = Record::Group(row.record(&members)?);
            self.publish(&record).await?;
        }
        Ok(())
    }
}

/// Tells edges to close the sockets of a session, in whatever transaction ended it.
pub async fn revoke(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    session: SessionId,
    now: Timestamp,
) -> Result<(), Problem> {
    let row = (stream::REVOKED.name, session.to_string(), 0, b"{}".to_vec());
    enqueue(connection, tenant, now, row).await
}

async fn enqueue(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    now: Timestamp,
    (bucket, key, revision, value): (&str, String, i64, Vec<u8>),
) -> Result<(), Problem> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::tenant_id.eq(Id(tenant)),
            outbox::id.eq(Uuid::now_v7()),
            outbox::bucket.eq(bucket),
            outbox::key.eq(key),
            outbox::revision.eq(revision),
            outbox::value.eq(value),
            outbox::created_at.eq(At(now)),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// The groups' members that are not deleted, in the order they came.
pub async fn members_of(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    of: &[Id<GroupId>],
) -> Result<Vec<MemberRow>, Problem> {
    let same = agents::tenant_id.eq(group_members::tenant_id).and(agents::id.eq(group_members::agent_id));
    let members = group_members::table
        .inner_join(agents::table.on(same))
        .filter(group_members::tenant_id.eq(Id(tenant)).and(group_members::group_id.eq_any(of)))
        .filter(agents::deleted_at.is_null())
        .order((group_members::created_at, group_members::agent_id))
        .select(MemberRow::as_select())
        .load(connection)
        .await?;
    Ok(members)
}

/// The names of the fields that a request gave.
pub fn named<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}
