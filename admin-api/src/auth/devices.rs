//! `GET, POST /v1/auth/me/devices` and `DELETE /v1/auth/me/devices/{id}`: where an agent's notifications go.
//!
//! Invariant: a device is its owner's alone, nobody has more than so many, and registering one again changes nothing but
//! its name.

use axum::{Json, extract::State};
use bus_schema::{AgentId, ErrorCode, TenantId, Timestamp};
use diesel::{dsl::count_star, prelude::*};
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{
    At, Id,
    schema::config::{agents, devices},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
    clock,
    http::{Body, Check, Checks, List, Page, PageQuery, PathId, Position, Problem, Query},
};

/// Devices of one agent.
const DEVICES_MAX: i64 = 20;
const TOKEN_CHARS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    Android,
    Ios,
    Web,
}

impl Platform {
    const fn word(self) -> &'static str {
        match self {
            Self::Android => "android",
            Self::Ios => "ios",
            Self::Web => "web",
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// `android`, `ios` or `web`.
    pub platform: Platform,
    /// What Firebase Cloud Messaging calls the device.
    pub token: String,
    #[serde(default)]
    pub name: Option<String>,
}

impl Check for NewDevice {
    fn check(&self, checks: &mut Checks) {
        checks.text("/token", &self.token, 1..=TOKEN_CHARS_MAX);
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = devices)]
struct DeviceRow {
    tenant_id: Id<TenantId>,
    id: Uuid,
    agent_id: Id<AgentId>,
    platform: String,
    token: String,
    name: Option<String>,
    created_at: At,
    last_seen_at: At,
}

/// A device, without the token that names it to its push service.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceView {
    pub id: Uuid,
    #[schema(value_type = Platform)]
    pub platform: String,
    pub name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
}

impl From<DeviceRow> for DeviceView {
    fn from(row: DeviceRow) -> Self {
        Self {
            id: row.id,
            platform: row.platform,
            name: row.name,
            created_at: row.created_at.0,
            last_seen_at: row.last_seen_at.0,
        }
    }
}

pub async fn devices(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<DeviceView>>, Problem> {
    let page = Page::try_from(&query)?;
    let mut rows = devices::table
        .filter(devices::tenant_id.eq(Id(caller.tenant)).and(devices::agent_id.eq(Id(caller.agent))))
        .order((devices::created_at, devices::id))
        .limit(page.rows())
        .select(DeviceRow::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = devices::created_at.eq(At(at)).and(devices::id.gt(id));
        rows = rows.filter(devices::created_at.gt(At(at)).or(later));
    }
    let rows: Vec<DeviceRow> = rows.load(&mut app.within(caller.tenant).await?).await?;
    let place = |row: &DeviceRow| Position { at: row.created_at.0, id: row.id };
    Ok(Json(page.of_rows(rows, place, DeviceView::from)))
}

pub async fn add_device(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewDevice>,
) -> Result<(StatusCode, Json<DeviceView>), Problem> {
    let mut connection = app.writing(caller.tenant).await?;
    // One after the other: each counts what the one before added.
    let agent = agents::table.find((Id(caller.tenant), Id(caller.agent))).for_no_key_update();
    agent.select(agents::id).first::<Id<AgentId>>(&mut connection).await?;
    let mine = devices::table
        .filter(devices::tenant_id.eq(Id(caller.tenant)).and(devices::agent_id.eq(Id(caller.agent))));
    let others: i64 =
        mine.filter(devices::token.ne(&new.token)).select(count_star()).first(&mut connection).await?;
    if others >= DEVICES_MAX {
        return Err(Problem::new(ErrorCode::Conflict, "20 devices are there already: remove one first"));
    }
    let now = At(clock::now());
    let row = DeviceRow {
        tenant_id: Id(caller.tenant),
        id: Uuid::now_v7(),
        agent_id: Id(caller.agent),
        platform: new.platform.word().to_owned(),
        token: new.token,
        name: new.name.clone(),
        created_at: now,
        last_seen_at: now,
    };
    let row: DeviceRow = diesel::insert_into(devices::table)
        .values(row)
        .on_conflict((devices::tenant_id, devices::agent_id, devices::token))
        .do_update()
        .set((devices::name.eq(new.name), devices::last_seen_at.eq(now)))
        .returning(DeviceRow::as_returning())
        .get_result(&mut connection)
        .await?;
    connection.commit().await?;
    Ok((StatusCode::CREATED, Json(row.into())))
}

pub async fn remove_device(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<Uuid>,
) -> Result<StatusCode, Problem> {
    let mine = devices::table
        .filter(devices::tenant_id.eq(Id(caller.tenant)).and(devices::id.eq(id)))
        .filter(devices::agent_id.eq(Id(caller.agent)));
    let mut connection = app.writing(caller.tenant).await?;
    let gone = diesel::delete(mine).execute(&mut connection).await?;
    connection.commit().await?;
    if gone == 0 { Err(Problem::not_found()) } else { Ok(StatusCode::NO_CONTENT) }
}
