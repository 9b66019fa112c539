//! `POST /v1/auth/register`: a tenant and its first admin.

use axum::extract::State;
use bus_schema::{AccountId, AgentId, ErrorCode, Shard, TenantId, claims::Role, config::Record};
use diesel_async::RunQueryDsl;
use http::{HeaderMap, StatusCode};
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, tenants},
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Hashed,
    login::{LoggedIn, account_by_email, begin},
};
use crate::{
    agents::default_capacity,
    app::App,
    audit_log::Audited,
    db::{AccountRow, AgentRow, By, Change, TenantRow, taken, word},
    http::{Body, Check, Checks, Peer, Problem, RequestId},
    metrics,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub tenant_name: String,
    /// The admin's name, as visitors see it.
    pub name: String,
    pub email: String,
    /// Of an account that exists already: its password; the new tenant is then a further one of it.
    pub password: String,
}

impl Check for Register {
    fn check(&self, checks: &mut Checks) {
        checks.name("/tenant_name", &self.tenant_name);
        checks.name("/name", &self.name);
        checks.email("/email", &self.email);
        checks.password("/password", &self.password);
    }
}

pub async fn register(
    State(app): State<App>,
    peer: Peer,
    request_id: RequestId,
    headers: HeaderMap,
    Body(body): Body<Register>,
) -> Result<(StatusCode, axum::Json<LoggedIn>), Problem> {
    if !app.registration_open {
        return Err(Problem::new(ErrorCode::Forbidden, "registration is closed here; ask the operator"));
    }
    app.budgets.take(peer, &body.email)?;
    let account = who(&app, &body).await?;
    let tenant = TenantId::from_uuid(Uuid::now_v7());
    let by = By { tenant, agent: None, request_id: request_id.as_str().to_owned() };
    let mut change = Change::begin_tenant(&app.pool, &app.wake, by).await?;
    let made = make(&mut change, tenant, &body, account).await;
    let (account, agent, tenant) = change.finish(made).await?;
    metrics::login("register", "ok");
    let mut connection = app.pool.get().await?;
    let logged_in = begin(&app, &mut connection, &account, &agent, &tenant, &headers).await?;
    Ok((StatusCode::CREATED, axum::Json(logged_in)))
}

enum Who {
    Known(AccountRow),
    New(Hashed),
}

/// The account with this e-mail address and password, or a password for a new one: either takes one hash.
async fn who(app: &App, body: &Register) -> Result<Who, Problem> {
    let known = account_by_email(&mut *app.pool.get().await?, &body.email).await?;
    let Some(known) = known else {
        return Ok(Who::New(app.passwords.hash(body.password.clone()).await?));
    };
    let right = app.passwords.verify(body.password.clone(), known.password_hash.clone()).await?;
    if right { Ok(Who::Known(known)) } else { Err(exists()) }
}

fn exists() -> Problem {
    Problem::taken("/email", "has an account already: give its password")
}

async fn make(
    change: &mut Change,
    tenant: TenantId,
    body: &Register,
    who: Who,
) -> Result<(AccountRow, AgentRow, TenantRow), Problem> {
    let now = At(change.now);
    let tenant = TenantRow {
        tenant_id: Id(tenant),
        name: body.tenant_name.clone(),
        shard: i32::from(Shard::default().0),
        default_group_id: None,
        console_origins: Vec::new(),
        thread_per_assignment: false,
        routing: serde_json::json!({}),
        revision: change.revision,
        counter: change.revision,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        forget_after_days: None,
    };
    diesel::insert_into(tenants::table).values(tenant.clone()).execute(change.connection()).await?;
    let account = match who {
        Who::Known(account) => account,
        Who::New(Hashed(hash)) => {
            let row = AccountRow {
                id: Id(AccountId::from_uuid(Uuid::now_v7())),
                email: body.email.clone(),
                password_hash: Some(hash),
                created_at: now,
                updated_at: now,
                deleted_at: None,
                email_verified_at: None,
            };
            let inserted = diesel::insert_into(accounts::table).values(row.clone());
            inserted.execute(change.connection()).await.map_err(|error| {
                match taken(error, "/email", "") {
                    problem if problem.body.code == ErrorCode::AlreadyExists => exists(),
                    other => other,
                }
            })?;
            row
        }
    };
    let agent = AgentRow {
        tenant_id: tenant.tenant_id,
        id: Id(AgentId::from_uuid(Uuid::now_v7())),
        account_id: account.id,
        name: body.name.clone(),
        role: word(Role::Admin),
        capacity: default_capacity(Role::Admin),
        skills: Vec::new(),
        avatar_url: None,
        job_title: None,
        revision: change.revision,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        invited_at: None,
    };
    diesel::insert_into(agents::table).values(agent.clone()).execute(change.connection()).await?;
    change.publish(&Record::Tenant(tenant.record()?)).await?;
    change.publish(&Record::Agent(agent.record()?)).await?;
    change.audit("registered", Audited::Tenant, tenant.tenant_id.0.uuid(), &[]).await?;
    Ok((account, agent, tenant))
}
