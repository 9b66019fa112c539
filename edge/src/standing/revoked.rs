//! Sessions that were ended before their tokens: the bucket `revoked`, held in memory.
//!
//! Invariant: what is verified at an instant holds every entry that the bucket's leader had stored by then. Entries
//! outlive every token of their session.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus_schema::{SessionId, close::CloseCode, stream};
use ops::{
    kv::{Change, Kv, KvError, Watch},
    nats::Bus,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{app::App, session::Who};

/// How often the leader is asked whether something was missed.
const VERIFY_EVERY: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
/// How long an entry counts: no token lives longer.
const KEPT: Duration = Duration::from_millis(stream::REVOKED.max_age_ms);
/// Entries that are held; beyond them the oldest go, whose tokens end first.
const ENTRIES_MAX: usize = 500_000;

#[derive(Debug)]
pub struct Revoked {
    sessions: RwLock<Sessions>,
    verified: RwLock<Instant>,
    vouched: AtomicBool,
}

#[derive(Debug, Default)]
struct Sessions {
    ended: HashSet<SessionId>,
    since: VecDeque<(Instant, SessionId)>,
}

impl Revoked {
    /// Reads the whole bucket.
    pub async fn read(bus: &Bus) -> Result<(Self, Following), KvError> {
        let revoked = Self {
            sessions: RwLock::default(),
            verified: RwLock::new(Instant::now()),
            vouched: AtomicBool::new(true),
        };
        let following = Following::begin(bus, |session| revoked.add(session)).await?;
        revoked.verify(Instant::now());
        Ok((revoked, following))
    }

    pub fn has(&self, session: SessionId) -> bool {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).ended.contains(&session)
    }

    /// Whether staff may be let in.
    pub fn is_vouched(&self) -> bool {
        self.vouched.load(Ordering::Relaxed)
    }

    /// Says whether that was news.
    pub fn set_vouched(&self, vouched: bool) -> bool {
        self.vouched.swap(vouched, Ordering::Relaxed) != vouched
    }

    pub fn verified_within(&self, longest: Duration) -> bool {
        self.verified.read().unwrap_or_else(PoisonError::into_inner).elapsed() <= longest
    }

    fn verify(&self, at: Instant) {
        *self.verified.write().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn add(&self, session: SessionId) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).add(session, Instant::now());
    }
}

impl Sessions {
    fn add(&mut self, session: SessionId, now: Instant) {
        if self.ended.insert(session) {
            self.since.push_back((now, session));
        }
        while let Some((since, session)) = self.since.front().copied()
            && (now.saturating_duration_since(since) > KEPT || self.since.len() > ENTRIES_MAX)
        {
            self.since.pop_front();
            self.ended.remove(&session);
        }
    }
}

/// A watch of the bucket, and how far it has come.
pub struct Following {
    bucket: Kv,
    watch: Watch,
    /// Everything up to here has been seen, or had gone by itself before.
    seen: u64,
}

impl Following {
    async fn begin(bus: &Bus, mut add: impl FnMut(SessionId)) -> Result<Self, KvError> {
        let bucket = Kv::open(bus, stream::REVOKED).await?;
        // Asked first: what the watch gives is at least that new.
        let mut seen = bucket.last_revision().await?;
        let mut watch = bucket.watch(">").await?;
        while !watch.is_current() {
            let change = watch.next().await?;
            seen = seen.max(change.revision);
            session_of(&change).into_iter().for_each(&mut add);
        }
        Ok(Self { bucket, watch, seen })
    }
}

/// Closes the sockets of sessions as they end.
/// What is older than `longest` is not vouched for any more.
pub async fn follow(app: Arc<App>, given: Following, longest: Duration) {
    let mut given = Some(given);
    loop {
        let following = match given.take() {
            Some(following) => Ok(following),
            None => Following::begin(&app.core.bus, |session| app.revoked.add(session)).await,
        };
        match following {
            Ok(following) => {
                app.revoked.verify(Instant::now());
                // Those who came before this was followed.
                app.connections.close_where(|owner| super::barred(&app, owner.who));
                follow_on(&app, following, VERIFY_EVERY.min(longest / 4)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the ended sessions cannot be read");
                sleep(RETRY).await;
            }
        }
    }
}

/// Follows until something may have been missed.
async fn follow_on(app: &App, mut following: Following, every: Duration) {
    let mut tick = interval(every.max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut behind = false;
    loop {
        tokio::select! {
            change = following.watch.next() => match change {
                Ok(change) => {
                    following.seen = following.seen.max(change.revision);
                    session_of(&change).into_iter().for_each(|session| ended(app, session));
                }
                Err(error) => {
                    tracing::warn!(%error, "the ended sessions cannot be followed");
                    return;
                }
            },
            _ = tick.tick() => {
                let asked = Instant::now();
                match following.bucket.last_revision().await {
                    Ok(last) if last == following.seen => {
                        behind = false;
                        app.revoked.verify(asked);
                    }
                    // Twice in a row the watch is not merely on its way: begin anew.
                    Ok(_) if std::mem::replace(&mut behind, true) => return,
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "the ended sessions cannot be verified now"),
                }
            }
        }
    }
}

fn ended(app: &App, session: SessionId) {
    app.revoked.add(session);
    let is = |who: Who| matches!(who, Who::Staff { session: of, .. } if of == session);
    app.connections.close_where(|owner| is(owner.who).then_some(CloseCode::Revoked));
}

fn session_of(change: &Change) -> Option<SessionId> {
    change.value.as_ref()?;
    let session = change.key.parse().ok();
    if session.is_none() {
        tracing::error!(key = change.key, "the bucket of ended sessions holds something else");
    }
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_as_long_as_any_token_and_no_longer() {
        let id = |n| SessionId::from_uuid(uuid::Uuid::from_u128(n));
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        sessions.add(id(1), start);
        sessions.add(id(2), start + KEPT);
        assert!(sessions.ended.contains(&id(1)));
        sessions.add(id(3), start + KEPT + Duration::from_secs(1));
        assert!(!sessions.ended.contains(&id(1)) && sessions.ended.contains(&id(2)));
        assert_eq!(sessions.since.len(), 2);
    }
}
