//! Argon2id, off the async threads, a few at a time.
//!
//! Invariant: a check takes the same time whether or not there is anything to check against, and memory is bounded
//! by the number of hashes at once.

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use bus_schema::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::Problem;

/// Hashes at once, each of 19 MiB.
const AT_ONCE: usize = 4;
/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(8);
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A password as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed(pub String);

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashed(…)")
    }
}

#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// What is checked where there is no account.
    decoy: Arc<str>,
}

impl Passwords {
    pub fn new() -> Self {
        let nobody = hash(b"nobody has this password");
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), decoy: nobody.into() }
    }

    pub async fn hash(&self, password: String) -> Result<Hashed, Problem> {
        let turn = self.turn().await?;
        let hashed = tokio::task::spawn_blocking(move || taking(turn, || hash(password.as_bytes()))).await;
        hashed.map(Hashed).map_err(|error| Problem::fault("hash a password", &error))
    }

    /// Whether the password is right. `None`: there is nothing it could be right for.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Problem> {
        let turn = self.turn().await?;
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let check = move || taking(turn, || verify(password.as_bytes(), &stored));
        let right = tokio::task::spawn_blocking(check).await;
        let right = right.map_err(|error| Problem::fault("check a password", &error))?;
        Ok(right && known)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(TURN_WITHIN, self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(ErrorCode::Internal.into()),
            Err(_) => Err(Problem::unavailable("too many logins at once", AGAIN_AFTER)),
        }
    }
}

/// The turn ends with the work, not with the request that asked for it: a client that hangs up stops no hash.
fn taking<T>(turn: OwnedSemaphorePermit, work: impl FnOnce() -> T) -> T {
    let done = work();
    drop(turn);
    done
}

fn hash(password: &[u8]) -> String {
    let hashed = Argon2::default().hash_password(password);
    hashed.expect("the default parameters and any password of bounded length fit").to_string()
}

fn verify(password: &[u8], stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|stored| Argon2::default().verify_password(password, &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".into()).await.unwrap().0;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".into(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("nobody has this password".into(), None).await.unwrap());
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await.unwrap());
    }
}
