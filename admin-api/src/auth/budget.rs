//! How often passwords may be tried: per address, per account, and altogether.
//!
//! Invariant: the maps are bounded by time (what has recovered is forgotten), and no key stands for "unknown":
//! nobody shares a bucket with strangers.

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use bus_schema::{ErrorBody, ErrorCode};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use ops::settings::{Settings, names};
use sha2::{Digest as _, Sha256};

use crate::http::{Peer, Problem};

/// Tries of one account's password, from anywhere.
const ACCOUNT_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");
/// Mails to one address that anybody may ask for, and as many that its tenants' staff ask for.
const MAILS_PER_HOUR: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
/// Codes of one account's second factor: a million of them are guessed at three in an instant.
const CODES_PER_HOUR: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");
/// Tries of all: what the machine can hash.
const ALL_PER_MINUTE: NonZeroU32 = NonZeroU32::new(1200).expect("1200 is not 0");
/// Of all, what hashes nothing: it takes nothing from who logs in.
const CHEAP_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6000).expect("6000 is not 0");

#[derive(Debug, Clone)]
pub struct Budgets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// None: switched off.
    addresses: Option<DefaultKeyedRateLimiter<ops::peer::Peer>>,
    accounts: DefaultKeyedRateLimiter<[u8; 16]>,
    mails: DefaultKeyedRateLimiter<[u8; 16]>,
    codes: DefaultKeyedRateLimiter<[u8; 16]>,
    invitations: DefaultKeyedRateLimiter<[u8; 16]>,
    cheap: DefaultDirectRateLimiter,
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Budgets {
    pub fn from_settings(settings: &Settings) -> Self {
        let per_minute = settings.limit(names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS);
        let per_minute =
            per_minute.and_then(|limit| NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX)));
        Self(Arc::new(Inner {
            addresses: per_minute.map(|limit| RateLimiter::keyed(Quota::per_minute(limit))),
            accounts: RateLimiter::keyed(Quota::per_minute(ACCOUNT_PER_MINUTE)),
            mails: RateLimiter::keyed(Quota::per_hour(MAILS_PER_HOUR)),
            codes: RateLimiter::keyed(Quota::per_hour(CODES_PER_HOUR)),
            invitations: RateLimiter::keyed(Quota::per_hour(MAILS_PER_HOUR)),
            cheap: RateLimiter::direct(Quota::per_minute(CHEAP_PER_MINUTE)),
            all: RateLimiter::direct(Quota::per_minute(ALL_PER_MINUTE)),
            clock: DefaultClock::default(),
        }))
    }

    /// Takes one try of an account's password, or says when there will be one again.
    pub fn take(&self, peer: Peer, email: &str) -> Result<(), Problem> {
        self.of_address(peer)?;
        self.keyed(&self.0.accounts, &key(email))?;
        self.take_hash()
    }

    /// Takes one try of something that names its account itself, or none, and hashes nothing so far.
    pub fn take_cheap(&self, peer: Peer) -> Result<(), Problem> {
        self.of_address(peer)?;
        self.direct(&self.0.cheap)
    }

    /// Takes one hash for who has shown a link that counts.
    pub fn take_hash(&self) -> Result<(), Problem> {
        self.direct(&self.0.all)
    }

    /// Takes one try of an account's second factor.
    pub fn take_code(&self, peer: Peer, email: &str) -> Result<(), Problem> {
        self.take_cheap(peer)?;
        self.keyed(&self.0.codes, &key(email))
    }

    /// Takes one mail that somebody asks for.
    pub fn take_mail(&self, peer: Peer, email: &str) -> Result<(), Problem> {
        self.take_cheap(peer)?;
        self.keyed(&self.0.mails, &key(email))
    }

    /// Takes one mail that staff ask for: nobody else uses these up.
    pub fn take_invitation(&self, email: &str) -> Result<(), Problem> {
        self.keyed(&self.0.invitations, &key(email))
    }

    fn of_address(&self, peer: Peer) -> Result<(), Problem> {
        self.0.addresses.as_ref().map_or(Ok(()), |addresses| self.keyed(addresses, &peer.0))
    }

    fn keyed<K: Clone + Eq + Hash>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), Problem> {
        limiter.check_key(key).map_err(|until| limited(until.wait_time_from(self.0.clock.now())))
    }

    fn direct(&self, limiter: &DefaultDirectRateLimiter) -> Result<(), Problem> {
        limiter.check().map_err(|until| limited(until.wait_time_from(self.0.clock.now())))
    }

    /// Forgets keys that have recovered.
    pub fn forget(&self) {
        if let Some(addresses) = &self.0.addresses {
            addresses.retain_recent();
            addresses.shrink_to_fit();
        }
        for limiter in [&self.0.accounts, &self.0.mails, &self.0.codes, &self.0.invitations] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// As [`account_by_email`](super::login::account_by_email) tells accounts apart.
fn key(email: &str) -> [u8; 16] {
    let digest = Sha256::digest(email.to_ascii_lowercase());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

fn limited(wait: Duration) -> Problem {
    ErrorBody::new(ErrorCode::RateLimited, "too many tries; wait a little").after(wait).into()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use ops::service::Service;

    use super::*;

    #[test]
    fn what_hashes_nothing_takes_nothing_from_who_logs_in() {
        let limit = (names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, "0");
        let budgets = Budgets::from_settings(&Settings::from_pairs(Service::AdminApi, &[limit]).unwrap());
        let peer = Peer(ops::peer::Peer::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
        let most = 2 * CHEAP_PER_MINUTE.get();
        let cheap = (0..most).take_while(|_| budgets.take_cheap(peer).is_ok()).count();
        assert!((CHEAP_PER_MINUTE.get() as usize..most as usize).contains(&cheap), "{cheap}");
        // Invitations are counted by themselves.
        for _ in 0..MAILS_PER_HOUR.get() {
            budgets.take_invitation("a@example.com").unwrap();
        }
        budgets.take_invitation("A@example.com").unwrap_err();
        budgets.take(peer, "a@example.com").unwrap();
        let all = (0..most).take_while(|n| budgets.take(peer, &format!("{n}@example.com")).is_ok()).count();
        assert!((ALL_PER_MINUTE.get() as usize - 1..most as usize).contains(&all), "{all}");
    }

    #[test]
    fn an_account_and_an_address_run_out_and_others_do_not() {
        let settings = |limit: &str| {
            Settings::from_pairs(Service::AdminApi, &[(names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, limit)])
                .unwrap()
        };
        let peer = |last| Peer(ops::peer::Peer::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))));
        let budgets = Budgets::from_settings(&settings("15"));
        for _ in 0..10 {
            budgets.take(peer(1), "a@example.com").unwrap();
        }
        let problem = budgets.take(peer(2), "A@example.com").unwrap_err();
        assert_eq!(problem.body.code, ErrorCode::RateLimited);
        assert!(problem.body.after_ms > 0);
        for n in 0..5 {
            budgets.take(peer(1), &format!("{n}@example.com")).unwrap();
        }
        assert!(budgets.take(peer(1), "new@example.com").is_err());
        budgets.take(peer(3), "new@example.com").unwrap();
        budgets.forget();
        assert!(budgets.take(peer(1), "newer@example.com").is_err(), "what has not recovered is kept");
        let unlimited = Budgets::from_settings(&settings("0"));
        for n in 0..100 {
            unlimited.take(peer(1), &format!("{n}@example.com")).unwrap();
        }
    }
}
