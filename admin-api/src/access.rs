//! Who may call a route: the one check in front of every handler.
//!
//! Invariant: a handler that takes a [`Caller`] runs only for a token that counts: of a session that is open, of an
//! agent that still works in its tenant, in the role Postgres gives now; or of a program, with a scope for this very
//! route. The tenant comes from the token alone.

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus_schema::{
    AgentId, Author, AuthorType, ErrorCode, SessionId, Shard, TenantId, Timestamp, claims::Role,
    command::Actor,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::{HeaderMap, header, request::Parts};
use persister::db::{
    Id,
    schema::config::{agents, sessions, tenants},
};

use crate::{
    api_tokens::{self, Bot},
    app::App,
    db::{By, meaning},
    http::{IfMatch, Problem, RequestId, RouteName, remembered},
    scope::Scope,
};

const FOR_PEOPLE: &str = "this is for people, not for API tokens";

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    /// Staff of at least this role.
    Staff(Role),
}

/// Who is behind a request: an agent, or a program with an API token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub tenant: TenantId,
    pub shard: Shard,
    /// Of a program: the id of its token, which is no agent's.
    pub agent: AgentId,
    pub kind: CallerKind,
    pub role: Role,
    pub session: SessionId,
    /// Of the token.
    pub expires_at: Timestamp,
    pub request_id: RequestId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    Agent,
    Bot,
}

impl Caller {
    pub fn is_bot(&self) -> bool {
        self.kind == CallerKind::Bot
    }

    /// As whom the caller speaks.
    pub fn author(&self) -> Author {
        let kind = if self.is_bot() { AuthorType::Bot } else { AuthorType::Agent };
        Author { kind, id: self.agent.uuid() }
    }

    /// As whom the caller commands the router.
    pub fn actor(&self) -> Actor {
        Actor { author: self.author(), role: (!self.is_bot()).then_some(self.role) }
    }

    pub fn by(&self) -> By {
        By { tenant: self.tenant, agent: Some(self.agent), request_id: self.request_id.as_str().to_owned() }
    }

    /// What no API token may ask for, whatever its scopes.
    pub fn must_be_a_person(&self) -> Result<(), Problem> {
        if self.is_bot() { Err(Problem::new(ErrorCode::Forbidden, FOR_PEOPLE)) } else { Ok(()) }
    }

    /// What only some may ask for on a route that all may call.
    pub fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role { Ok(()) } else { Err(ErrorCode::Forbidden.into()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| ErrorCode::Unauthenticated.into())
    }
}

/// What the guard of a route needs to know.
#[derive(Clone)]
pub struct Guard {
    pub app: App,
    pub access: Access,
    pub route: &'static str,
    /// What an API token must be allowed; none: it is not let in.
    pub scope: Option<Scope>,
    /// Its answers may be remembered by `Idempotency-Key`.
    pub idempotent: bool,
    /// What it changes has no revision that `If-Match` could name.
    pub no_revision: bool,
}

pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&guard, &mut request).await {
        Ok(Some(caller)) if guard.idempotent => remembered(&guard.app, &caller, request, next).await,
        Ok(_) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(RouteName(guard.route));
    response
}

async fn admit(guard: &Guard, request: &mut Request) -> Result<Option<Caller>, Problem> {
    let Access::Staff(least) = guard.access else { return Ok(None) };
    let token = bearer(request.headers()).ok_or(ErrorCode::Unauthenticated)?.to_owned();
    let request_id = RequestId::given(request.extensions(), request.headers());
    let caller = match api_tokens::bot(&guard.app, &token).await? {
        Some(bot) => program(guard, least, &bot, request_id)?,
        None => person(&guard.app, &token, request_id).await?,
    };
    caller.must_be(least)?;
    if guard.no_revision {
        IfMatch::of(request.headers())?.check_none()?;
    }
    request.extensions_mut().insert(caller.clone());
    Ok(Some(caller))
}

/// A program sees the whole tenant, and does what its scopes say.
fn program(guard: &Guard, least: Role, bot: &Bot, request_id: RequestId) -> Result<Caller, Problem> {
    let allowed = guard.scope.is_some_and(|scope| bot.scopes.contains(&scope));
    if !allowed {
        return Err(match guard.scope {
            Some(scope) => {
                Problem::new(ErrorCode::Forbidden, format!("the token lacks the scope {}", scope.name()))
            }
            None => Problem::new(ErrorCode::Forbidden, FOR_PEOPLE),
        });
    }
    Ok(Caller {
        tenant: bot.tenant,
        shard: Shard(u16::try_from(bot.shard).unwrap_or_default()),
        agent: AgentId::from_uuid(bot.id.uuid()),
        kind: CallerKind::Bot,
        role: least.max(Role::Supervisor),
        session: SessionId::NIL,
        expires_at: bot.expires_at,
        request_id,
    })
}

async fn person(app: &App, token: &str, request_id: RequestId) -> Result<Caller, Problem> {
    let refused = || Problem::from(ErrorCode::Unauthenticated);
    let claims = app.tokens.verify(token).ok_or_else(refused)?;
    let row: Option<(String, i32)> = sessions::table
        .inner_join(
            agents::table
                .on(agents::tenant_id.eq(sessions::tenant_id).and(agents::id.eq(sessions::agent_id))),
        )
        .inner_join(tenants::table.on(tenants::tenant_id.eq(sessions::tenant_id)))
        .filter(sessions::tenant_id.eq(Id(claims.tid)).and(sessions::id.eq(Id(claims.sid))))
        .filter(sessions::agent_id.eq(Id(claims.sub)).and(sessions::ended_at.is_null()))
        .filter(agents::deleted_at.is_null().and(agents::invited_at.is_null()))
        .filter(tenants::deleted_at.is_null())
        .select((agents::role, tenants::shard))
        .first(&mut app.pool.get().await?)
        .await
        .optional()?;
    let (role, shard) = row.ok_or_else(refused)?;
    Ok(Caller {
        tenant: claims.tid,
        shard: Shard(u16::try_from(shard).unwrap_or_default()),
        agent: claims.sub,
        kind: CallerKind::Agent,
        role: meaning(&role)?,
        session: claims.sid,
        expires_at: Timestamp::from_millis(
            i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000),
        ),
        request_id,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
