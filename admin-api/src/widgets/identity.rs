//! The keys that identity tokens are signed with.

use std::time::Duration;

use bus_schema::{
    Timestamp,
    claims::IDENTITY_TOKEN_SECONDS,
    config::{IdentityKey, PreviousSecret},
};

use super::WantedIdentity;
use crate::auth::secret::{Purpose, generate};

/// As long as a token lives that was signed just before.
const PREVIOUS_COUNTS: Duration = Duration::from_secs(IDENTITY_TOKEN_SECONDS);

/// The key that was asked for; a secret is made.
pub fn fresh(wanted: WantedIdentity) -> IdentityKey {
    match wanted {
        WantedIdentity::HS256 {} => {
            IdentityKey::HS256 { secret: generate(Purpose::Identity), previous: None }
        }
        WantedIdentity::EdDSA { public_key_pem } => IdentityKey::EdDSA { public_key_pem },
    }
}

/// A new secret, beside which the one before counts a while; none: there is no secret, but a key of the site's own.
pub fn rotated(before: Option<IdentityKey>, now: Timestamp) -> Option<IdentityKey> {
    let previous = match before {
        None => None,
        Some(IdentityKey::HS256 { secret, .. }) => {
            Some(PreviousSecret { secret, until: now.plus(PREVIOUS_COUNTS) })
        }
        Some(IdentityKey::EdDSA { .. }) => return None,
    };
    Some(IdentityKey::HS256 { secret: generate(Purpose::Identity), previous })
}
