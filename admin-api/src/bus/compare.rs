//! Everything in Postgres against everything on the bus; Postgres wins.
//!
//! Invariant: what the bus has and Postgres contradicts (a restored backup, a record nobody made) is replaced under
//! a revision above all that the bus has of that tenant, so that readers take it for what it is: newer.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{TenantId, config::Record};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::kv::Kv;
use persister::db::{
    Id,
    schema::config::{agents, group_members, groups, tenants, widgets},
};

use super::publish::{plain, put_newer, told};
use crate::{
    app::App,
    db::{AgentRow, GroupRow, MemberRow, TenantRow, WidgetRow},
    http::Problem,
};

/// Makes the bus as Postgres says; how many records differed.
pub(super) async fn everything(app: &App, config: &Kv) -> Result<u64, String> {
    let ours = {
        let mut connection = app.pool.get().await.map_err(plain)?;
        all_records(&mut connection).await.map_err(told)?
    };
    let theirs = on_the_bus(config).await?;
    let mut repaired = 0;
    let mut ahead: BTreeMap<TenantId, u64> = BTreeMap::new();
    for (key, record) in &ours {
        match theirs.get(key) {
            Some(there) if there == record => {}
            Some(there) if there.revision() >= record.revision() => raise(&mut ahead, there),
            Some(_) | None => repaired += u64::from(put_newer(config, record).await.map_err(plain)?),
        }
    }
    let strangers: Vec<&Record> = theirs
        .iter()
        .filter(|(key, record)| !ours.contains_key(*key) && !is_deleted(record))
        .map(|(_, r)| r)
        .collect();
    for stranger in &strangers {
        raise(&mut ahead, stranger);
    }
    for (tenant, above) in &ahead {
        let mine: Vec<&Record> = ours.values().filter(|record| record.tenant_id() == *tenant).collect();
        let gone: Vec<&Record> =
            strangers.iter().copied().filter(|record| record.tenant_id() == *tenant).collect();
        repaired += overrule(app, config, *tenant, *above, &mine, &gone).await?;
    }
    Ok(repaired)
}

fn raise(ahead: &mut BTreeMap<TenantId, u64>, record: &Record) {
    let above = ahead.entry(record.tenant_id()).or_default();
    *above = (*above).max(record.revision());
}

const fn is_deleted(record: &Record) -> bool {
    match record {
        Record::Tenant(r) => r.deleted,
        Record::Widget(r) => r.deleted,
        Record::Group(r) => r.deleted,
        Record::Agent(r) => r.deleted,
    }
}

fn with(record: &Record, revision: u64, gone: bool) -> Record {
    let mut record = record.clone();
    let (own, deleted) = match &mut record {
        Record::Tenant(r) => (&mut r.revision, &mut r.deleted),
        Record::Widget(r) => (&mut r.revision, &mut r.deleted),
        Record::Group(r) => (&mut r.revision, &mut r.deleted),
        Record::Agent(r) => (&mut r.revision, &mut r.deleted),
    };
    *own = revision;
    *deleted = *deleted || gone;
    record
}

/// Lifts a tenant's counter and rows above what the bus has, and publishes all of it.
async fn overrule(
    app: &App,
    config: &Kv,
    tenant: TenantId,
    above: u64,
    mine: &[&Record],
    gone: &[&Record],
) -> Result<u64, String> {
    let revision = lift(app, tenant, above).await.map_err(told)?;
    let number = u64::try_from(revision).unwrap_or(0);
    let mut repaired = 0;
    let all = mine.iter().map(|record| with(record, number, false));
    for record in all.chain(gone.iter().map(|record| with(record, number, true))) {
        repaired += u64::from(put_newer(config, &record).await.map_err(plain)?);
    }
    Ok(repaired)
}

async fn lift(app: &App, tenant: TenantId, above: u64) -> Result<i64, Problem> {
    let above = i64::try_from(above).unwrap_or(i64::MAX - 1);
    let mut connection = app.pool.get().await?;
    let lifted = connection_lift(&mut connection, tenant, above).await?;
    // A tenant that Postgres does not know has no rows to lift.
    Ok(lifted.unwrap_or(above + 1))
}

async fn connection_lift(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    above: i64,
) -> Result<Option<i64>, Problem> {
    let current: Option<i64> =
        tenants::table.find(Id(tenant)).select(tenants::counter).first(connection).await.optional()?;
    let Some(current) = current else { return Ok(None) };
    let next = current.max(above) + 1;
    let own = diesel::update(tenants::table.find(Id(tenant)));
    own.set((tenants::counter.eq(next), tenants::revision.eq(next))).execute(connection).await?;
    diesel::update(agents::table.filter(agents::tenant_id.eq(Id(tenant))))
        .set(agents::revision.eq(next))
        .execute(connection)
        .await?;
    diesel::update(groups::table.filter(groups::tenant_id.eq(Id(tenant))))
        .set(groups::revision.eq(next))
        .execute(connection)
        .await?;
    diesel::update(widgets::table.filter(widgets::tenant_id.eq(Id(tenant))))
        .set(widgets::revision.eq(next))
        .execute(connection)
        .await?;
    Ok(Some(next))
}

async fn on_the_bus(config: &Kv) -> Result<BTreeMap<String, Record>, String> {
    let mut watch = config.watch(">").await.map_err(plain)?;
    let mut records = BTreeMap::new();
    while !watch.is_current() {
        let change = watch.next().await.map_err(plain)?;
        let Some(value) = change.value else { continue };
        match Record::decode(&change.key, &value) {
            Ok(record) => drop(records.insert(change.key, record)),
            Err(error) => tracing::warn!(%error, "a record on the bus cannot be read"),
        }
    }
    Ok(records)
}

/// Every record as Postgres has it, deleted ones too.
async fn all_records(connection: &mut AsyncPgConnection) -> Result<BTreeMap<String, Record>, Problem> {
    let tenants: Vec<TenantRow> = tenants::table.select(TenantRow::as_select()).load(connection).await?;
    let agents: Vec<AgentRow> = agents::table.select(AgentRow::as_select()).load(connection).await?;
    let widgets: Vec<WidgetRow> = widgets::table.select(WidgetRow::as_select()).load(connection).await?;
    let groups: Vec<GroupRow> = groups::table.select(GroupRow::as_select()).load(connection).await?;
    let members: Vec<MemberRow> = group_members::table
        .order((group_members::created_at, group_members::agent_id))
        .select(MemberRow::as_select())
        .load(connection)
        .await?;
    let gone: BTreeSet<_> = agents
        .iter()
        .filter(|agent| agent.deleted_at.is_some())
        .map(|agent| (agent.tenant_id, agent.id))
        .collect();
    let mut by_group: BTreeMap<_, Vec<MemberRow>> = BTreeMap::new();
    for member in members.into_iter().filter(|member| !gone.contains(&(member.tenant_id, member.agent_id))) {
        by_group.entry((member.tenant_id, member.group_id)).or_default().push(member);
    }
    let mut records: Vec<Record> = tenants.iter().map(|row| Record::Tenant(row.record())).collect();
    for row in &agents {
        records.push(Record::Agent(row.record()?));
    }
    for row in &widgets {
        records.push(Record::Widget(row.record()?));
    }
    for row in &groups {
        let members = by_group.get(&(row.tenant_id, row.id)).map_or(&[][..], Vec::as_slice);
        records.push(Record::Group(row.record(members)?));
    }
    Ok(records.into_iter().map(|record| (record.key(), record)).collect())
}
