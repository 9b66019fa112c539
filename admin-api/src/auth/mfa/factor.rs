//! An account's second factor: a secret that an authenticator has too, and codes for when it is lost.
//!
//! Invariant: each code, of either kind, counts once.

use bus_schema::{AccountId, Timestamp};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{recovery_codes, second_factors},
};

use super::totp;
use crate::{auth::secret, http::Problem};

const RECOVERY_CODES: usize = 10;
/// 80 bits: nobody guesses them, so that a plain hash is enough.
const RECOVERY_BYTES: usize = 10;

/// A code that is right, and what it takes to use it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RightCode {
    Step(i64),
    Recovery(Vec<u8>),
}

/// Whether a code is asked for.
pub async fn is_on(connection: &mut AsyncPgConnection, account: Id<AccountId>) -> Result<bool, Problem> {
    let on = second_factors::table.find(account).filter(second_factors::confirmed_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(on)).get_result(connection).await?)
}

/// The same, and nobody else changes it until the transaction ends; none: there is no secret.
pub async fn held(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
) -> Result<Option<bool>, Problem> {
    let row = second_factors::table.find(account).for_update().select(second_factors::confirmed_at);
    let confirmed: Option<Option<At>> = row.first(connection).await.optional()?;
    Ok(confirmed.map(|at| at.is_some()))
}

/// A new secret, which counts once its first code was given.
pub async fn prepare(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, Problem> {
    let secret = rand::random::<[u8; totp::SECRET_BYTES]>().to_vec();
    let unconfirmed = second_factors::confirmed_at.is_null();
    diesel::delete(second_factors::table.find(account).filter(unconfirmed)).execute(connection).await?;
    let made = diesel::insert_into(second_factors::table)
        .values((
            second_factors::account_id.eq(account),
            second_factors::secret.eq(&secret),
            second_factors::created_at.eq(At(now)),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok((made == 1).then_some(secret))
}

/// The code, if it is right: an authenticator's, or a recovery code.
pub async fn check(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    code: &str,
    now: Timestamp,
) -> Result<Option<RightCode>, Problem> {
    let found = second_factors::table
        .find(account)
        .select((second_factors::secret, second_factors::last_step))
        .first::<(Vec<u8>, i64)>(connection)
        .await
        .optional()?;
    let Some((key, last)) = found else { return Ok(None) };
    if let Some(step) = totp::step_of(&key, code, now) {
        return Ok((step > last).then_some(RightCode::Step(step)));
    }
    let hash = recovery_hash(code);
    let there = recovery_codes::table.find((account, &hash));
    let there: bool = diesel::select(diesel::dsl::exists(there)).get_result(connection).await?;
    Ok(there.then_some(RightCode::Recovery(hash)))
}

/// Uses a code up; false if another request was faster.
pub async fn use_up(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    code: &RightCode,
) -> Result<bool, Problem> {
    let used = match code {
        RightCode::Step(step) => {
            diesel::update(second_factors::table.find(account).filter(second_factors::last_step.lt(*step)))
                .set(second_factors::last_step.eq(*step))
                .execute(connection)
                .await?
        }
        RightCode::Recovery(hash) => {
            diesel::delete(recovery_codes::table.find((account, hash))).execute(connection).await?
        }
    };
    Ok(used == 1)
}

/// From now on a code is asked for; gives the recovery codes, in clear for the only time.
pub async fn turn_on(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    now: Timestamp,
) -> Result<Vec<String>, Problem> {
    diesel::update(second_factors::table.find(account))
        .set(second_factors::confirmed_at.eq(At(now)))
        .execute(connection)
        .await?;
    diesel::delete(recovery_codes::table.filter(recovery_codes::account_id.eq(account)))
        .execute(connection)
        .await?;
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let rows: Vec<_> = codes
        .iter()
        .map(|code| {
            (
                recovery_codes::account_id.eq(account),
                recovery_codes::hash.eq(recovery_hash(code)),
                recovery_codes::created_at.eq(At(now)),
            )
        })
        .collect();
    diesel::insert_into(recovery_codes::table).values(rows).execute(connection).await?;
    Ok(codes)
}

/// Whether there was one that counted.
pub async fn turn_off(connection: &mut AsyncPgConnection, account: Id<AccountId>) -> Result<bool, Problem> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::account_id.eq(account)))
        .execute(connection)
        .await?;
    let removed: Option<Option<At>> = diesel::delete(second_factors::table.find(account))
        .returning(second_factors::confirmed_at)
        .get_result(connection)
        .await
        .optional()?;
    Ok(removed.flatten().is_some())
}

/// In groups of four, as people read them.
fn recovery_code() -> String {
    let text = totp::base32(&rand::random::<[u8; RECOVERY_BYTES]>());
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..at + 4]).collect();
    groups.join("-")
}

/// Of the code however it was typed.
fn recovery_hash(code: &str) -> Vec<u8> {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    secret::hash(&plain.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let code = recovery_code();
        assert_eq!(code.len(), 19, "{code}");
        let typed = code.replace('-', " ").to_lowercase();
        assert_eq!(recovery_hash(&code), recovery_hash(&typed));
        assert_ne!(code, recovery_code());
    }
}
