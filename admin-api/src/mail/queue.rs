//! The queue of mails.
//!
//! Invariant: a row holds an address and a kind, never a secret, and whether anybody has that address is found out
//! only when the mail is sent.

use std::time::Duration;

use bus_schema::{AgentId, TenantId, Timestamp};
use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::mails};
use uuid::Uuid;

use crate::{clock, http::Problem};

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody forgot the password.
    Reset,
    Invitation,
    PasswordChanged,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Reset, Self::Invitation, Self::PasswordChanged];

    pub const fn word(self) -> &'static str {
        match self {
            Kind::Reset => "reset",
            Kind::Invitation => "invitation",
            Kind::PasswordChanged => "password_changed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// How long it is tried.
    const fn worth_sending_for(self) -> Duration {
        match self {
            // Who waits for it gives up, or asks again.
            Kind::Reset => Duration::from_secs(30 * 60),
            Kind::Invitation | Kind::PasswordChanged => Duration::from_secs(24 * 3600),
        }
    }
}

/// A mail that is due.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = mails)]
pub struct Due {
    pub id: Uuid,
    pub tenant_id: Option<Id<TenantId>>,
    pub agent_id: Option<Id<AgentId>>,
    pub kind: String,
    pub recipient: String,
    pub attempts: i32,
}

/// Queues a mail that is of no tenant.
pub async fn enqueue(
    connection: &mut AsyncPgConnection,
    kind: Kind,
    recipient: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    insert(connection, kind, None, recipient, now).await
}

/// Queues an invitation.
pub async fn invite(
    connection: &mut AsyncPgConnection,
    place: (TenantId, AgentId),
    recipient: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    insert(connection, Kind::Invitation, Some(place), recipient, now).await
}

async fn insert(
    connection: &mut AsyncPgConnection,
    kind: Kind,
    place: Option<(TenantId, AgentId)>,
    recipient: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    diesel::insert_into(mails::table)
        .values((
            mails::id.eq(Uuid::now_v7()),
            mails::tenant_id.eq(place.map(|(tenant, _)| Id(tenant))),
            mails::agent_id.eq(place.map(|(_, agent)| Id(agent))),
            mails::kind.eq(kind.word()),
            mails::recipient.eq(recipient),
            mails::created_at.eq(At(now)),
            mails::expires_at.eq(At(now.plus(kind.worth_sending_for()))),
            mails::retry_at.eq(At(now)),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// The mail that has been due longest; until `again` nobody else takes it. What another instance is taking right now
/// is passed over.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    again: fn(i32) -> Duration,
) -> Result<Option<Due>, Problem> {
    let now = clock::now();
    connection
        .transaction(async |connection| {
            let due = mails::table
                .filter(mails::retry_at.le(At(now)).and(mails::expires_at.gt(At(now))))
                .order((mails::retry_at, mails::id))
                .select((mails::id, mails::attempts))
                .for_update()
                .skip_locked()
                .first::<(Uuid, i32)>(connection)
                .await
                .optional()?;
            let Some((id, attempts)) = due else { return Ok(None) };
            let mine = diesel::update(mails::table.find(id))
                .set((mails::attempts.eq(attempts + 1), mails::retry_at.eq(At(now.plus(again(attempts))))))
                .returning(Due::as_returning())
                .get_result(connection)
                .await?;
            Ok(Some(mine))
        })
        .await
}

/// It was sent, or will never be.
pub async fn done(connection: &mut AsyncPgConnection, id: Uuid) -> Result<(), Problem> {
    diesel::delete(mails::table.find(id)).execute(connection).await?;
    Ok(())
}

/// Removes what is not worth sending any more.
pub async fn forget(connection: &mut AsyncPgConnection) -> Result<(), Problem> {
    let old = mails::table.filter(mails::expires_at.lt(At(clock::now())));
    let gone = diesel::delete(old).execute(connection).await?;
    if gone > 0 {
        tracing::warn!(mails = gone, "mails that could not be sent in time were dropped");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel_async::SimpleAsyncConnection as _;
    use ops::testing::Postgres;
    use persister::db::{Options, connect, migrations};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_finds_another_at_a_mail_takes_the_next_one_at_once() {
        let migrate = async |url: String| drop(migrations::run(&url).await.unwrap());
        let database = Postgres::shared().await.database_from("migrated", migrate).await;
        let connection = async || connect(&database.url(), &Options::new("test")).await.unwrap();
        let (mut one, mut other) = (connection().await, connection().await);
        for n in 0..2 {
            enqueue(&mut one, Kind::Reset, &format!("{n}@m.example"), clock::now()).await.unwrap();
        }
        let again: fn(i32) -> Duration = |_| Duration::from_secs(60);
        one.batch_execute("BEGIN").await.unwrap();
        let first = claim(&mut one, again).await.unwrap().unwrap();
        // Its row is locked until the first one commits.
        let next = tokio::time::timeout(Duration::from_secs(10), claim(&mut other, again));
        let next = next.await.unwrap().unwrap().unwrap();
        assert_ne!(first.id, next.id);
        assert!(claim(&mut other, again).await.unwrap().is_none());
        one.batch_execute("COMMIT").await.unwrap();
        assert!(claim(&mut one, again).await.unwrap().is_none());
    }
}
