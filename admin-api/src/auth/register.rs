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
    enter::{unchanged, wrong_code},
    login::{LoggedIn, account_by_email, begin},
    mfa::{self, RightCode},
    secret,
};
use crate::{
    agents::default_capacity,
    app::App,
    audit_log::Audited,
    clock,
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
    /// Of that account's authenticator, or a recovery code, if it has a second factor.
    #[serde(default)]
    pub code: Option<String>,
}

impl Check for Register {
    fn check(&self, checks: &mut Checks) {
        checks.name("/tenant_name", &self.tenant_name);
        checks.name("/name", &self.name);
        checks.email("/email", &self.email);
        checks.password("/password", &self.password);
        if let Some(code) = &self.code {
            checks.text("/code", code, 1..=secret::LENGTH_MAX);
        }
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
    let who = who(&app, peer, &body).await?;
    let tenant = TenantId::from_uuid(Uuid::now_v7());
    let by = By { tenant, agent: None, request_id: request_id.as_str().to_owned() };
    let mut change = Change::begin_tenant(&app.pool, &app.wake, by).await?;
    let made = match make(&mut change, tenant, &body, who).await {
        Ok((account, agent, tenant)) => {
            begin(&app, change.connection(), &account, &agent, &tenant, &headers).await
        }
        Err(problem) => Err(problem),
    };
    let logged_in = change.finish(made).await?;
    metrics::login("register", "ok");
    Ok((StatusCode::CREATED, axum::Json(logged_in)))
}

enum Who {
    /// With the code, if the account has a second factor.
    Known(AccountRow, Option<RightCode>),
    New(Hashed),
}

/// The account with this e-mail address and password, or a password for a new one: either takes one hash.
async fn who(app: &App, peer: Peer, body: &Register) -> Result<Who, Problem> {
    let known = account_by_email(&mut *app.pool.get().await?, &body.email).await?;
    let Some(known) = known else {
        return Ok(Who::New(app.passwords.hash(body.password.clone()).await?));
    };
    if !app.passwords.verify(body.password.clone(), known.password_hash.clone()).await? {
        return Err(exists());
    }
    let mut connection = app.pool.get().await?;
    if !mfa::is_on(&mut connection, known.id).await? {
        return Ok(Who::Known(known, None));
    }
    let code = body.code.as_deref().ok_or_else(code_is_missing)?;
    app.budgets.take_code(peer, &known.email)?;
    let right = mfa::check(&mut connection, known.id, code, clock::now()).await?;
    Ok(Who::Known(known, Some(right.ok_or_else(wrong_code)?)))
}

fn code_is_missing() -> Problem {
    Problem::value("/code", "is asked for: the account has a second factor")
}

/// Nothing of what was proved has changed meanwhile, and the code counts once.
async fn prove(change: &mut Change, account: &AccountRow, code: Option<&RightCode>) -> Result<(), Problem> {
    unchanged(change.connection(), account).await?;
    match code {
        Some(code) if mfa::use_up(change.connection(), account.id, code).await? => Ok(()),
        Some(_) => Err(wrong_code()),
        None if mfa::is_on(change.connection(), account.id).await? => Err(code_is_missing()),
        None => Ok(()),
    }
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
        Who::Known(account, code) => {
            prove(change, &account, code.as_ref()).await?;
            account
        }
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
