//! Sessions and their refresh tokens.
//!
//! Invariant: of one refresh token at most one exchange succeeds; a second try within 30 days ends the session it belongs
//! to. Only hashes of tokens are stored.

use std::time::Duration;

use bus_schema::{AgentId, SessionId, TenantId, Timestamp};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id, Pool,
    schema::config::{idempotency_keys, mailed_tokens, oidc_logins, open_logins, refresh_tokens, sessions},
};
use uuid::Uuid;

use super::secret;
use crate::{
    clock,
    db::{Change, SessionRow},
    http::Problem,
    mail,
};

/// How long a login lasts without being used.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a refresh token that was exchanged is known: whoever comes with it after that is refused as a stranger is.
const USED_KEPT: Duration = SESSION_IDLE_MAX;
/// Refresh tokens that are removed in one statement, and such statements in a row.
const PIECE: i64 = 10_000;
const PIECES_MAX: usize = 100;
/// How long ended sessions are kept to be looked at.
const ENDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long answers to idempotent requests are kept.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);
const USER_AGENT_CHARS_MAX: usize = 200;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Logout,
    Revoked,
    Reused,
    AgentDeleted,
    RoleChanged,
    PasswordChanged,
}

impl Ended {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Ended::Logout => "logout",
            Ended::Revoked => "revoked",
            Ended::Reused => "reused",
            Ended::AgentDeleted => "agent_deleted",
            Ended::RoleChanged => "role_changed",
            Ended::PasswordChanged => "password_changed",
        }
    }
}

/// A new session; gives its id.
pub(super) async fn begin(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    agent: AgentId,
    user_agent: Option<&str>,
    now: Timestamp,
) -> Result<SessionId, Problem> {
    let id = SessionId::from_uuid(Uuid::now_v7());
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
    let row = SessionRow {
        tenant_id: Id(tenant),
        id: Id(id),
        agent_id: Id(agent),
        user_agent: user_agent.map(plain),
        created_at: At(now),
        last_used_at: At(now),
        expires_at: At(now.plus(SESSION_IDLE_MAX)),
        ended_at: None,
        ended_because: None,
    };
    diesel::insert_into(sessions::table).values(row).execute(connection).await?;
    Ok(id)
}

/// The session's next refresh token.
pub(super) async fn issue(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    session: SessionId,
    now: Timestamp,
) -> Result<String, Problem> {
    let token = secret::generate(secret::Purpose::Refresh);
    let row = (
        refresh_tokens::tenant_id.eq(Id(tenant)),
        refresh_tokens::hash.eq(secret::hash(&token)),
        refresh_tokens::session_id.eq(Id(session)),
        refresh_tokens::issued_at.eq(At(now)),
    );
    diesel::insert_into(refresh_tokens::table).values(row).execute(connection).await?;
    let used = (sessions::last_used_at.eq(At(now)), sessions::expires_at.eq(At(now.plus(SESSION_IDLE_MAX))));
    diesel::update(sessions::table.find((Id(tenant), Id(session)))).set(used).execute(connection).await?;
    Ok(token)
}

/// Ends a session and tells the edges; whether it was still open.
pub(super) async fn end(change: &mut Change, session: SessionId, why: Ended) -> Result<bool, Problem> {
    let (tenant, now) = (change.tenant(), change.now);
    let open = sessions::table.find((Id(tenant), Id(session))).filter(sessions::ended_at.is_null());
    let ended = diesel::update(open)
        .set((sessions::ended_at.eq(At(now)), sessions::ended_because.eq(why.word())))
        .execute(change.connection())
        .await?;
    if ended > 0 {
        change.revoke(session).await?;
    }
    Ok(ended > 0)
}

/// Ends all sessions of an agent.
pub async fn end_sessions_of(change: &mut Change, agent: AgentId, why: Ended) -> Result<(), Problem> {
    let (tenant, now) = (change.tenant(), change.now);
    let open = sessions::table
        .filter(sessions::tenant_id.eq(Id(tenant)).and(sessions::agent_id.eq(Id(agent))))
        .filter(sessions::ended_at.is_null());
    let ended: Vec<Id<SessionId>> = diesel::update(open)
        .set((sessions::ended_at.eq(At(now)), sessions::ended_because.eq(why.word())))
        .returning(sessions::id)
        .get_results(change.connection())
        .await?;
    for session in ended {
        change.revoke(session.0).await?;
    }
    Ok(())
}

/// Removes what has ended long ago.
pub async fn forget_expired(pool: &Pool) -> Result<(), Problem> {
    let mut connection = pool.get().await?;
    let now = clock::now();
    let ago = |kept: Duration| {
        At(Timestamp::from_millis(now.millis() - i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
    };
    let connection = &mut connection;
    let old = sessions::table
        .filter(sessions::expires_at.lt(ago(ENDED_KEPT)).or(sessions::ended_at.lt(ago(ENDED_KEPT))));
    // Each goes by itself: what fails for one kind holds up no other.
    let done = [
        diesel::delete(old).execute(connection).await,
        diesel::delete(idempotency_keys::table.filter(idempotency_keys::started_at.lt(ago(ANSWERS_KEPT))))
            .execute(connection)
            .await,
        diesel::delete(mailed_tokens::table.filter(mailed_tokens::expires_at.lt(At(now))))
            .execute(connection)
            .await,
        diesel::delete(open_logins::table.filter(open_logins::expires_at.lt(At(now))))
            .execute(connection)
            .await,
        diesel::delete(oidc_logins::table.filter(oidc_logins::expires_at.lt(At(now))))
            .execute(connection)
            .await,
        forget_exchanged(connection, ago(USED_KEPT)).await,
    ];
    mail::forget(connection).await?;
    for outcome in done {
        outcome?;
    }
    Ok(())
}

const FORGET_EXCHANGED: &str = "DELETE FROM config.refresh_tokens WHERE hash IN (
    SELECT hash FROM config.refresh_tokens WHERE used_at < $1 ORDER BY used_at LIMIT $2)";

/// In pieces: of a large installation a year's are millions.
async fn forget_exchanged(connection: &mut AsyncPgConnection, before: At) -> QueryResult<usize> {
    let mut forgotten = 0;
    for _ in 0..PIECES_MAX {
        let piece =
            diesel::sql_query(FORGET_EXCHANGED).bind::<Timestamptz, _>(before).bind::<BigInt, _>(PIECE);
        let gone = piece.execute(connection).await?;
        forgotten += gone;
        if i64::try_from(gone).is_ok_and(|gone| gone < PIECE) {
            break;
        }
    }
    Ok(forgotten)
}
