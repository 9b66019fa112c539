//! Everything in Postgres against everything on the bus; Postgres wins.
//!
//! Invariant: what the bus has and Postgres contradicts (a restored backup, a record nobody made) is replaced under
//! a revision above all that the bus has of that tenant, so that readers take it for what it is: newer.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{ErrorCode, TenantId, config::Record};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::kv::Kv;
use persister::db::{
    Id,
    schema::config::{agents, group_members, groups, tags, tenants, widgets},
};

use super::publish::{plain, put_newer, told};
use crate::{
    app::App,
    db::{AgentRow, By, GroupRow, MemberRow, TagRow, TenantRow, WidgetRow},
    http::Problem,
};

/// Makes the bus as Postgres says; how many records differed.
pub(super) async fn everything(app: &App, config: &Kv) -> Result<u64, String> {
    // The bus first: what it has was committed before, so Postgres, asked after it, is never behind it by accident.
    let theirs = on_the_bus(config).await?;
    let ours = all_records(app).await.map_err(told)?;
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
        let gone: Vec<&Record> =
            strangers.iter().copied().filter(|record| record.tenant_id() == *tenant).collect();
        repaired += overrule(app, config, *tenant, *above, &gone).await?;
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
        Record::Tag(r) => r.deleted,
    }
}

fn gone_at(record: &Record, revision: u64) -> Record {
    let mut record = record.clone();
    let (own, deleted) = match &mut record {
        Record::Tenant(r) => (&mut r.revision, &mut r.deleted),
        Record::Widget(r) => (&mut r.revision, &mut r.deleted),
        Record::Group(r) => (&mut r.revision, &mut r.deleted),
        Record::Agent(r) => (&mut r.revision, &mut r.deleted),
        Record::Tag(r) => (&mut r.revision, &mut r.deleted),
    };
    (*own, *deleted) = (revision, true);
    record
}

/// Lifts a tenant's counter and rows above what the bus has, and publishes all of it as it is then.
async fn overrule(
    app: &App,
    config: &Kv,
    tenant: TenantId,
    above: u64,
    gone: &[&Record],
) -> Result<u64, String> {
    let revision = lift(app, tenant, above).await.map_err(told)?;
    let number = u64::try_from(revision).unwrap_or(0);
    // Read anew: what was changed since the first look is not undone under the higher revision.
    let all = all_records(app).await.map_err(told)?;
    let mine = all.into_values().filter(|record| record.tenant_id() == tenant);
    let mut repaired = 0;
    for record in mine.chain(gone.iter().map(|record| gone_at(record, number))) {
        repaired += u64::from(put_newer(config, &record).await.map_err(plain)?);
    }
    Ok(repaired)
}

async fn lift(app: &App, tenant: TenantId, above: u64) -> Result<i64, Problem> {
    let above = i64::try_from(above).unwrap_or(i64::MAX - 1);
    let by = By { tenant, agent: None, request_id: String::new() };
    let mut change = match app.change(by).await {
        // A tenant that Postgres does not know has no rows to lift.
        Err(problem) if problem.body.code == ErrorCode::NotFound => return Ok(above + 1),
        begun => begun?,
    };
    let next = change.revision.max(above + 1);
    let lifted = lift_rows(change.connection(), tenant, next).await;
    change.finish(lifted.map(|()| next)).await
}

async fn lift_rows(connection: &mut AsyncPgConnection, tenant: TenantId, next: i64) -> Result<(), Problem> {
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
    diesel::update(tags::table.filter(tags::tenant_id.eq(Id(tenant))))
        .set(tags::revision.eq(next))
        .execute(connection)
        .await?;
    diesel::update(widgets::table.filter(widgets::tenant_id.eq(Id(tenant))))
        .set(widgets::revision.eq(next))
        .execute(connection)
        .await?;
    Ok(())
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

/// Every record as Postgres has it at one moment, deleted ones too.
async fn all_records(app: &App) -> Result<BTreeMap<String, Record>, Problem> {
    let mut connection = app.pool.get().await?;
    let mut moment = connection.build_transaction().repeatable_read().read_only();
    moment.run(async |connection| records_in(connection).await).await
}

async fn records_in(connection: &mut AsyncPgConnection) -> Result<BTreeMap<String, Record>, Problem> {
    let tenants: Vec<TenantRow> = tenants::table.select(TenantRow::as_select()).load(connection).await?;
    let agents: Vec<AgentRow> = agents::table.select(AgentRow::as_select()).load(connection).await?;
    let widgets: Vec<WidgetRow> = widgets::table.select(WidgetRow::as_select()).load(connection).await?;
    let groups: Vec<GroupRow> = groups::table.select(GroupRow::as_select()).load(connection).await?;
    let labels: Vec<TagRow> = tags::table.select(TagRow::as_select()).load(connection).await?;
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
    let mut records: Vec<Record> = labels.iter().map(|row| Record::Tag(row.record())).collect();
    for row in &tenants {
        records.push(Record::Tenant(row.record()?));
    }
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
