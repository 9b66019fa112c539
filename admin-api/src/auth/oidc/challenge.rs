//! What binds a login at a provider to the page that began it, as PKCE (RFC 7636) binds a code to a client.
//!
//! The token of a login travels behind `#` to the console. Without this, somebody could send another person a link with
//! a token of their own, and have them work in the wrong account. A console that makes a secret, gives its challenge to
//! `start` and the secret itself with the token, goes on with no other login than the one it began.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Of a SHA-256 in base64url.
const CHARS: usize = 43;
/// Of the secret, by RFC 7636 §4.1.
pub const SECRET_CHARS_MAX: usize = 128;

/// Whether it can be the challenge of any secret.
pub fn is_one(challenge: &str) -> bool {
    challenge.len() == CHARS && URL_SAFE_NO_PAD.decode(challenge).is_ok()
}

/// The challenge of a secret.
pub fn of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret.as_bytes()))
}

/// Whether who brings this secret, or none, may go on with a login that began with this challenge, or none. A console
/// that brings one never goes on with a login that it did not begin.
pub fn fits(challenge: Option<&str>, secret: Option<&str>) -> bool {
    challenge == secret.map(of).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_of_a_challenge_fits_it() {
        let challenge = of("a secret");
        assert!(is_one(&challenge) && !is_one(&challenge[1..]) && !is_one(&"!".repeat(CHARS)));
        assert!(fits(Some(&challenge), Some("a secret")) && fits(None, None));
        for (challenge, secret) in
            [(Some(challenge.as_str()), None), (Some(&challenge), Some("another")), (None, Some("a secret"))]
        {
            assert!(!fits(challenge, secret), "{challenge:?} {secret:?}");
        }
    }
}
