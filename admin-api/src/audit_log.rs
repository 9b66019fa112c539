//! `GET /v1/audit-log`: who changed what, latest first.
//!
//! Invariant: fields are told by name, never by value; what was written here nobody changes or removes (the roles of
//! Postgres let it be added to, and no more).

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use bus_schema::{ApiTokenId, AuthorType, TenantId, Timestamp};
use diesel::{pg::Pg, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{api_tokens, audit_log},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    agents,
    app::App,
    http::{List, Page, Position, Problem, Query},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    actor_id: Option<Uuid>,
    entity: Option<Audited>,
    entity_id: Option<Uuid>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = audit_log)]
struct AuditRow {
    id: Uuid,
    at: At,
    actor_id: Option<Uuid>,
    action: String,
    entity: String,
    entity_id: Uuid,
    fields: Vec<String>,
    request_id: String,
}

/// What can be changed and is written down here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audited {
    Account,
    ActionTemplate,
    Agent,
    ApiToken,
    CannedResponse,
    Group,
    Session,
    Tag,
    Tenant,
    Visitor,
    Widget,
}

impl Audited {
    pub const fn name(self) -> &'static str {
        match self {
            Audited::Account => "account",
            Audited::ActionTemplate => "action_template",
            Audited::Agent => "agent",
            Audited::ApiToken => "api_token",
            Audited::CannedResponse => "canned_response",
            Audited::Group => "group",
            Audited::Session => "session",
            Audited::Tag => "tag",
            Audited::Tenant => "tenant",
            Audited::Visitor => "visitor",
            Audited::Widget => "widget",
        }
    }
}

/// A change, and who made it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub actor: AuditActor,
    /// `created`, `changed`, `deleted`, `restored`, and what only some entities know: `invited`, `erased`, …
    pub action: String,
    /// What it was done to.
    #[schema(value_type = Audited)]
    pub entity: String,
    pub entity_id: Uuid,
    /// What was changed, by name. Of members of a group: whose membership. Of an erasure: why.
    pub fields: Vec<String>,
    /// As the answer had it in `x-request-id`. Of an erasure: its receipt.
    pub request_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditActor {
    /// `agent`, `bot` (an API token) or `system`.
    #[serde(rename = "type")]
    pub kind: AuthorType,
    /// Null: the system.
    pub id: Option<Uuid>,
    /// As it is now, also of those who were deleted.
    pub name: Option<String>,
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let page = Page::of(filter.limit, filter.cursor.as_deref())?;
    let mut connection = app.within(caller.tenant).await?;
    let rows: Vec<AuditRow> = filter
        .rows(caller.tenant, &page)
        .limit(page.rows())
        .select(AuditRow::as_select())
        .load(&mut connection)
        .await?;
    let names = Names::load(&mut connection, caller.tenant, &rows).await?;
    let place = |row: &AuditRow| Position { at: row.at.0, id: row.id };
    Ok(Json(page.of_rows(rows, place, |row| AuditEntry {
        actor: names.actor(row.actor_id),
        id: row.id,
        at: row.at.0,
        action: row.action,
        entity: row.entity,
        entity_id: row.entity_id,
        fields: row.fields,
        request_id: row.request_id,
    })))
}

impl Filter {
    fn rows(self, tenant: TenantId, page: &Page) -> audit_log::BoxedQuery<'static, Pg> {
        let mut rows = audit_log::table
            .filter(audit_log::tenant_id.eq(Id(tenant)))
            .order((audit_log::at.desc(), audit_log::id.desc()))
            .into_boxed();
        if let Some(Position { at, id }) = page.after {
            // The first of both is what an index can begin at.
            rows =
                rows.filter(audit_log::at.le(At(at)).and(audit_log::at.lt(At(at)).or(audit_log::id.lt(id))));
        }
        if let Some(actor) = self.actor_id {
            rows = rows.filter(audit_log::actor_id.eq(actor));
        }
        if let Some(entity) = self.entity {
            rows = rows.filter(audit_log::entity.eq(entity.name()));
        }
        if let Some(id) = self.entity_id {
            rows = rows.filter(audit_log::entity_id.eq(id));
        }
        if let Some(from) = self.from {
            rows = rows.filter(audit_log::at.ge(At(from)));
        }
        if let Some(to) = self.to {
            rows = rows.filter(audit_log::at.lt(At(to)));
        }
        rows
    }
}

/// Of those who made changes.
struct Names {
    agents: BTreeMap<Uuid, String>,
    bots: BTreeMap<Uuid, String>,
}

impl Names {
    async fn load(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        rows: &[AuditRow],
    ) -> Result<Self, Problem> {
        let ids = || rows.iter().filter_map(|row| row.actor_id);
        let agents = agents::names(connection, tenant, ids()).await?;
        let of_bots: Vec<(Id<ApiTokenId>, String)> = api_tokens::table
            .filter(api_tokens::tenant_id.eq(Id(tenant)))
            .filter(api_tokens::id.eq_any(ids().map(|id| Id(ApiTokenId::from_uuid(id)))))
            .select((api_tokens::id, api_tokens::name))
            .load(connection)
            .await?;
        Ok(Self { agents, bots: of_bots.into_iter().map(|(id, name)| (id.0.uuid(), name)).collect() })
    }

    fn actor(&self, id: Option<Uuid>) -> AuditActor {
        let Some(id) = id else { return AuditActor { kind: AuthorType::System, id: None, name: None } };
        match self.bots.get(&id) {
            Some(name) => AuditActor { kind: AuthorType::Bot, id: Some(id), name: Some(name.clone()) },
            None => AuditActor { kind: AuthorType::Agent, id: Some(id), name: self.agents.get(&id).cloned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn what_is_written_down_is_named_as_it_is_asked_for() {
        let schema = serde_json::to_value(Audited::schema()).unwrap();
        let names = schema["enum"].as_array().unwrap();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            let audited: Audited = serde_json::from_value(name.clone()).unwrap();
            assert_eq!(audited.name(), name);
        }
    }
}
