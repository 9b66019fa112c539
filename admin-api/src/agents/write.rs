//! Making and changing agents.

use axum::extract::State;
use bus_schema::{AccountId, AgentId, ErrorCode, GroupId, claims::Role, config::MemberPriority};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, group_members},
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AgentView, check_profile, check_routing, default_capacity, groups_of, keep_an_admin};
use crate::{
    access::Caller,
    app::App,
    auth::{Budgets, Ended, Hashed, account_by_email, end_sessions_of},
    db::{AccountRow, AgentRow, Change, meaning, named, taken, word},
    groups::must_exist,
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    mail, things,
};

const GROUPS_MAX: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// Of a person who was in this tenant before, their account is used, with its password. The owner of an account of
    /// another tenant is invited.
    pub email: String,
    pub name: String,
    pub role: Role,
    /// 0 to 100; 10 for admins and 5 for others unless given.
    #[serde(default)]
    pub capacity: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub group_ids: Vec<GroupId>,
    #[serde(default)]
    pub skills: Vec<String>,
    #[serde(default)]
    pub avatar_url: Option<String>,
    #[serde(default)]
    pub job_title: Option<String>,
    /// For a new account alone. Without one an invitation is sent, and the agent cannot log in until it is accepted.
    #[serde(default)]
    pub password: Option<String>,
}

impl Check for NewAgent {
    fn check(&self, checks: &mut Checks) {
        checks.email("/email", &self.email);
        checks.name("/name", &self.name);
        check_routing(checks, self.capacity, Some(&self.skills));
        check_profile(checks, self.avatar_url.as_ref(), self.job_title.as_ref());
        check_groups(checks, &self.group_ids);
        if let Some(password) = &self.password {
            checks.password("/password", password);
        }
    }
}

fn check_groups(checks: &mut Checks, ids: &[GroupId]) {
    checks.that("/group_ids", ids.len() <= GROUPS_MAX, "must hold at most 200");
    for (at, id) in ids.iter().enumerate() {
        checks.that(&format!("/group_ids/{at}"), !ids[..at].contains(id), "is there twice");
    }
}

/// An API token would otherwise be worth more than its scopes: whoever has it could log in as whom it made.
fn by_a_person(caller: &Caller, role: Option<Role>, password: bool) -> Result<(), Problem> {
    if caller.is_bot() && (role.is_some_and(|role| role > Role::Agent) || password) {
        let text = "an API token makes nobody more than an `agent`, and sets no passwords";
        return Err(Problem::new(ErrorCode::Forbidden, text));
    }
    Ok(())
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(mut new): Body<NewAgent>,
) -> Result<Tagged<AgentView>, Problem> {
    by_a_person(&caller, Some(new.role), new.password.is_some())?;
    // Before the transaction: a hash takes long, and the tenant's row is locked in it.
    let hash = match new.password.take() {
        Some(password) => Some(app.passwords.hash_for_another(password).await?),
        None => None,
    };
    // Within a tenant only the accounts of those who are or were in it can be seen.
    let known = account_by_email(&mut *app.pool.get().await?, &new.email).await?;
    let mut change = app.change(caller.by()).await?;
    let made = create_in(&mut change, &app.budgets, new, known, hash).await;
    let made = change.finish(made).await?;
    app.mail_wake.notify_one();
    Ok(made)
}

async fn create_in(
    change: &mut Change,
    budgets: &Budgets,
    new: NewAgent,
    known: Option<AccountRow>,
    hash: Option<Hashed>,
) -> Result<Tagged<AgentView>, Problem> {
    must_exist(change, &new.group_ids, |at| format!("/group_ids/{at}")).await?;
    let (account, joins) = account(change, known, &new.email, hash).await?;
    let capacity = new.capacity.and_then(|capacity| i32::try_from(capacity).ok());
    let row = AgentRow {
        tenant_id: Id(change.tenant()),
        id: Id(AgentId::from_uuid(Uuid::now_v7())),
        account_id: account.id,
        name: new.name,
        role: word(new.role),
        capacity: capacity.unwrap_or_else(|| default_capacity(new.role)),
        skills: new.skills,
        avatar_url: new.avatar_url,
        job_title: new.job_title,
        revision: change.revision,
        created_at: At(change.now),
        updated_at: At(change.now),
        deleted_at: None,
        invited_at: (joins == Joins::Invited).then_some(At(change.now)),
    };
    things::make(change, &row).await?;
    set_groups(change, row.id.0, &new.group_ids).await?;
    if joins == Joins::Invited {
        budgets.take_invitation(&account.email)?;
        let (place, now) = ((row.tenant_id.0, row.id.0), change.now);
        mail::invite(change.connection(), place, &account.email, now).await?;
    }
    things::shown_new(change, row).await
}

/// How an account comes into a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joins {
    AtOnce,
    /// When its owner has accepted.
    Invited,
}

/// The account with this address, made if there is none.
///
/// One that was never in this tenant must accept an invitation: whoever made it knows its password, and would be let
/// in here.
async fn account(
    change: &mut Change,
    known: Option<AccountRow>,
    email: &str,
    hash: Option<Hashed>,
) -> Result<(AccountRow, Joins), Problem> {
    let given = hash.is_some();
    let Some(known) = known else {
        let row = AccountRow {
            id: Id(AccountId::from_uuid(Uuid::now_v7())),
            email: email.to_owned(),
            password_hash: hash.map(|hash| hash.0),
            created_at: At(change.now),
            updated_at: At(change.now),
            deleted_at: None,
            email_verified_at: None,
        };
        let inserted = diesel::insert_into(accounts::table).values(row.clone());
        let inserted = inserted.execute(change.connection()).await;
        inserted.map_err(|error| taken(error, "/email", "got an account just now: try again"))?;
        return Ok((row, if given { Joins::AtOnce } else { Joins::Invited }));
    };
    if given {
        return Err(Problem::taken(
            "/email",
            "has an account already, which keeps its password: leave it out",
        ));
    }
    let was_here = agents::table
        .filter(agents::tenant_id.eq(Id(change.tenant())).and(agents::account_id.eq(known.id)))
        .filter(agents::invited_at.is_null())
        .count()
        .get_result::<i64>(change.connection());
    Ok((known, if was_here.await? == 0 { Joins::Invited } else { Joins::AtOnce }))
}

/// Makes these the groups an agent is in, and tells the bus of each that changed.
async fn set_groups(change: &mut Change, agent: AgentId, wanted: &[GroupId]) -> Result<(), Problem> {
    let (tenant, now) = (change.tenant(), change.now);
    let before = groups_of(change, agent).await?;
    let gone: Vec<_> = before.iter().copied().filter(|id| !wanted.contains(id)).collect();
    let come: Vec<_> = wanted.iter().copied().filter(|id| !before.contains(id)).collect();
    let left = group_members::table
        .filter(group_members::tenant_id.eq(Id(tenant)).and(group_members::agent_id.eq(Id(agent))))
        .filter(group_members::group_id.eq_any(gone.iter().copied().map(Id)));
    diesel::delete(left).execute(change.connection()).await?;
    let rows: Vec<_> = come
        .iter()
        .map(|group| {
            (
                group_members::tenant_id.eq(Id(tenant)),
                group_members::group_id.eq(Id(*group)),
                group_members::agent_id.eq(Id(agent)),
                group_members::priority.eq(word(MemberPriority::default())),
                group_members::created_at.eq(At(now)),
            )
        })
        .collect();
    if !rows.is_empty() {
        diesel::insert_into(group_members::table).values(rows).execute(change.connection()).await?;
    }
    change.touch_groups(&[gone, come].concat()).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchAgent {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub role: Option<Role>,
    #[serde(default)]
    pub capacity: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<uuid::Uuid>>)]
    pub group_ids: Option<Vec<GroupId>>,
    #[serde(default)]
    pub skills: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub avatar_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub job_title: Option<Option<String>>,
}

impl Check for PatchAgent {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        check_routing(checks, self.capacity, self.skills.as_deref());
        check_profile(
            checks,
            self.avatar_url.iter().flatten().next(),
            self.job_title.iter().flatten().next(),
        );
        check_groups(checks, self.group_ids.as_deref().unwrap_or_default());
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
    if_match: IfMatch,
    Body(patch): Body<PatchAgent>,
) -> Result<Tagged<AgentView>, Problem> {
    by_a_person(&caller, patch.role, false)?;
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: AgentId,
    if_match: &IfMatch,
    patch: PatchAgent,
) -> Result<Tagged<AgentView>, Problem> {
    let mut row: AgentRow = things::find(change, id).await?;
    if_match.check(row.revision)?;
    let role: Role = meaning(&row.role)?;
    if role == Role::Admin && patch.role.is_some_and(|wanted| wanted != Role::Admin) {
        keep_an_admin(change, id).await?;
    }
    let loses = patch.role.is_some_and(|wanted| wanted < role);
    let fields = named([
        ("name", patch.name.is_some()),
        ("role", patch.role.is_some()),
        ("capacity", patch.capacity.is_some()),
        ("group_ids", patch.group_ids.is_some()),
        ("skills", patch.skills.is_some()),
        ("avatar_url", patch.avatar_url.is_some()),
        ("job_title", patch.job_title.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.role = patch.role.map_or(row.role, word);
    row.capacity = patch.capacity.and_then(|capacity| i32::try_from(capacity).ok()).unwrap_or(row.capacity);
    row.skills = patch.skills.unwrap_or(row.skills);
    row.avatar_url = patch.avatar_url.unwrap_or(row.avatar_url);
    row.job_title = patch.job_title.unwrap_or(row.job_title);
    if let Some(groups) = &patch.group_ids {
        must_exist(change, groups, |at| format!("/group_ids/{at}")).await?;
        set_groups(change, id, groups).await?;
    }
    things::save(change, &mut row, "changed", &fields).await?;
    if loses {
        // Tokens that say the old role are out there for minutes: the sessions end, and with them those. After the row
        // was written, so that a login that has read it before is seen.
        end_sessions_of(change, id, Ended::RoleChanged).await?;
    }
    things::shown(change, row).await
}
