//! The key that signs, from its file to everybody who verifies: published, then used, then forgotten.
//!
//! Invariant: no token is signed with a key before all who verify had time to learn it, and no key is forgotten while
//! a token that it signed can still count. Putting another key into the file is all that an operator does.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bus_schema::{
    Timestamp,
    claims::{LEEWAY_SECONDS, STAFF_TOKEN_SECONDS},
};
use ops::{
    auth::{self, Audience, SigningKey},
    kv::KvError,
    nats::Bus,
};
use tokio::time::sleep;

use super::Tokens;
use crate::clock;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From a key's publication to its first use: edges and other instances hear of it in less.
const LEARNT_WITHIN: Duration = Duration::from_secs(5);
/// How often it is said which key signs here.
const AFFIRM_EVERY: Duration = Duration::from_secs(60);
/// A key that nobody has stood by for this long is forgotten: its last token has ended, clocks that differ included.
const FORGET_AFTER: Duration = Duration::from_secs(STAFF_TOKEN_SECONDS + 2 * LEEWAY_SECONDS + 300);

/// A key that is published and not used yet.
struct Next {
    key: SigningKey,
    published: Instant,
}

/// Publishes, rotates and forgets, for as long as it is polled.
pub async fn keep(bus: &Bus, tokens: &Tokens, path: PathBuf) {
    let mut next: Option<Next> = None;
    let mut affirmed: Option<Instant> = None;
    loop {
        if affirmed.is_none_or(|at| at.elapsed() >= AFFIRM_EVERY) {
            match affirm(bus, tokens).await {
                Ok(()) => affirmed = Some(Instant::now()),
                Err(error) => tracing::warn!(%error, "the public key is not on the bus yet"),
            }
        }
        match &next {
            Some(ready) if ready.published.elapsed() >= LEARNT_WITHIN => {
                if let Some(Next { key, .. }) = next.take() {
                    tracing::info!(kid = key.public().kid(), "another key signs from now on");
                    tokens.sign_with(key);
                    affirmed = None;
                }
            }
            Some(_) => {}
            None => next = look(bus, tokens, path.clone()).await,
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn affirm(bus: &Bus, tokens: &Tokens) -> Result<(), KvError> {
    let now = clock::now();
    auth::affirm(bus, Audience::Staff, &tokens.signing_key(), now).await?;
    let gone = auth::forget_unused(bus, Audience::Staff, forgotten_before(now)).await?;
    if gone > 0 {
        tracing::info!(keys = gone, "keys that nobody signs with any more were forgotten");
    }
    Ok(())
}

fn forgotten_before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.millis() - i64::try_from(FORGET_AFTER.as_millis()).unwrap_or(i64::MAX))
}

/// The file's key, published, if it is another one than signs now.
async fn look(bus: &Bus, tokens: &Tokens, path: PathBuf) -> Option<Next> {
    let read = tokio::task::spawn_blocking(move || SigningKey::load(&path)).await.ok()?;
    let key = match read {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(%error, "the key file cannot be read; the key that is known goes on signing");
            return None;
        }
    };
    if key.public() == tokens.signing_key().public() {
        return None;
    }
    match auth::affirm(bus, Audience::Staff, &key, clock::now()).await {
        Ok(()) => {
            tokens.accept(&key);
            Some(Next { key, published: Instant::now() })
        }
        Err(error) => {
            tracing::warn!(%error, "the new key is not on the bus yet");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_last_token() {
        let now = Timestamp::from_millis(10_000_000_000);
        let kept = now.millis() - forgotten_before(now).millis();
        // It may have signed just before the next word was due.
        let last_token = (STAFF_TOKEN_SECONDS + LEEWAY_SECONDS) * 1000 + AFFIRM_EVERY.as_millis() as u64;
        assert!(u64::try_from(kept).unwrap() > last_token);
    }
}
