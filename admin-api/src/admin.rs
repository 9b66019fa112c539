//! `GET /v1/admin/stats` and `/v1/admin/bus`: what operators of a tenant look at first.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use bus_schema::{TenantId, Timestamp, state::ThreadStatus};
use diesel::{
    dsl::{count_star, sql},
    prelude::*,
    sql_types::{BigInt, Bool, Json as JsonSql, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::{
        chat::{agent_states, conversations, daily_counters},
        config::{agents, outbox, widgets},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    clock,
    conversations::MinSeq,
    db::word,
    http::{Problem, Query},
    read_model::{Applied, applied, position},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Conversations by the status of their last thread. Where there are more than 10,000, `closed` is an estimate.
    pub conversations: BTreeMap<String, i64>,
    /// Agents by what others see: accepting, not_accepting, offline.
    pub agents: BTreeMap<String, i64>,
    pub agents_total: i64,
    pub widgets_total: i64,
    /// What happened today (UTC), by metric.
    pub today: BTreeMap<String, i64>,
}

pub async fn stats(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<MinSeq>,
) -> Result<Applied<Stats>, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let tenant = Id(caller.tenant);
    let mut connection = app.within(caller.tenant).await?;
    let open: Vec<(String, i64)> = conversations::table
        .filter(conversations::tenant_id.eq(tenant).and(sql::<Bool>("status <> 'closed'")))
        .group_by(conversations::status)
        .select((conversations::status, count_star()))
        .load(&mut connection)
        .await?;
    let mut by_status: BTreeMap<String, i64> = open.into_iter().collect();
    let closed = how_many(&mut connection, caller.tenant).await? - by_status.values().sum::<i64>();
    if closed > 0 {
        by_status.insert(word(ThreadStatus::Closed), closed);
    }
    let by_seen: Vec<(String, i64)> = agent_states::table
        .filter(agent_states::tenant_id.eq(tenant).and(agent_states::deleted.eq(false)))
        .group_by(agent_states::status)
        .select((agent_states::status, count_star()))
        .load(&mut connection)
        .await?;
    let today: Vec<(String, i64)> = daily_counters::table
        .filter(
            daily_counters::tenant_id
                .eq(tenant)
                .and(daily_counters::day.eq(At(clock::now()).chrono().date_naive())),
        )
        .select((daily_counters::metric, daily_counters::n))
        .load(&mut connection)
        .await?;
    let agents = agents::table.filter(agents::tenant_id.eq(tenant).and(agents::deleted_at.is_null()));
    let widgets = widgets::table.filter(widgets::tenant_id.eq(tenant).and(widgets::deleted_at.is_null()));
    let body = Stats {
        conversations: by_status,
        agents: by_seen.into_iter().collect(),
        agents_total: agents.select(count_star()).first(&mut connection).await?,
        widgets_total: widgets.select(count_star()).first(&mut connection).await?,
        today: today.into_iter().collect(),
    };
    Ok(Applied { seq, body })
}

/// Conversations that are counted one by one; how many more there are is what Postgres expects to find.
const COUNTED_MAX: i64 = 10_000;
const COUNTED: &str = "SELECT count(*) AS n
    FROM (SELECT FROM chat.conversations WHERE tenant_id = $1 ORDER BY id LIMIT $2) AS counted";

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Explained {
    #[diesel(sql_type = JsonSql, column_name = "QUERY PLAN")]
    plan: serde_json::Value,
}

async fn how_many(connection: &mut AsyncPgConnection, tenant: TenantId) -> Result<i64, Problem> {
    let counted: Counted = diesel::sql_query(COUNTED)
        .bind::<UuidSql, _>(Id(tenant))
        .bind::<BigInt, _>(COUNTED_MAX + 1)
        .get_result(connection)
        .await?;
    if counted.n <= COUNTED_MAX {
        return Ok(counted.n);
    }
    // What is explained takes no parameters; an id is no more than its digits.
    let explain =
        format!("EXPLAIN (FORMAT JSON) SELECT FROM chat.conversations WHERE tenant_id = '{tenant}'");
    let explained: Explained = diesel::sql_query(explain).get_result(connection).await?;
    let expected = explained.plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_i64);
    Ok(expected.unwrap_or(0).max(counted.n))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BusState {
    pub connected: bool,
    /// The log of the tenant's shard; null while the bus is away.
    pub log: Option<LogState>,
    pub read_model: ReadModel,
    /// Changes of this tenant that the bus was not told yet.
    pub outbox: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LogState {
    pub shard: u16,
    pub first_seq: u64,
    pub last_seq: u64,
    pub bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReadModel {
    pub applied_seq: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub applied_at: Option<Timestamp>,
    /// Messages of the log that it does not have yet.
    pub lag_messages: Option<u64>,
}

pub async fn bus(State(app): State<App>, caller: Caller) -> Result<Json<BusState>, Problem> {
    let applied = position(&app, caller.shard).await?;
    let mut connection = app.within(caller.tenant).await?;
    let outbox: i64 = outbox::table
        .filter(outbox::tenant_id.eq(Id(caller.tenant)))
        .select(count_star())
        .first(&mut connection)
        .await?;
    drop(connection);
    let end = match app.bus.log(caller.shard) {
        Ok(log) => log.end().await.ok(),
        Err(_) => None,
    };
    let applied_seq = applied.map_or(0, |(seq, _)| seq);
    let read_model = ReadModel {
        applied_seq,
        applied_at: applied.map(|(_, at)| at.0),
        lag_messages: end.as_ref().map(|end| end.last.saturating_sub(applied_seq.unsigned_abs())),
    };
    let log = end.map(|end| LogState {
        shard: caller.shard.0,
        first_seq: end.first,
        last_seq: end.last,
        bytes: end.bytes,
    });
    Ok(Json(BusState { connected: app.bus.get().is_ok(), log, read_model, outbox }))
}
