//! Random secrets that are given out once and, but for those that others must check signatures with, stored as their hash.
//!
//! Invariant: each holds 256 bits, so that a plain hash is enough; its prefix says what it is, also to who finds one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

const BYTES: usize = 32;
/// No secret of ours is longer; what is longer is not looked up.
pub const LENGTH_MAX: usize = 64;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Refresh,
    /// A link in a mail.
    Mailed,
    /// A login that is not complete.
    OpenLogin,
    /// `state` at an OpenID provider.
    OidcState,
    ApiToken,
    /// A site's, to sign identity tokens with.
    Identity,
}

impl Purpose {
    pub const fn prefix(self) -> &'static str {
        match self {
            Purpose::Refresh => "cbr_",
            Purpose::Mailed => "cbm_",
            Purpose::OpenLogin => "cbl_",
            Purpose::OidcState => "cbo_",
            Purpose::ApiToken => "cbt_",
            Purpose::Identity => "cbi_",
        }
    }
}

/// A secret that is nowhere else.
pub fn generate(purpose: Purpose) -> String {
    format!("{}{}", purpose.prefix(), random())
}

/// 256 random bits in base64url.
pub fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>())
}

/// What is stored instead of it.
pub fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_say_what_they_are_and_are_never_the_same() {
        let (a, b) = (generate(Purpose::Mailed), generate(Purpose::Mailed));
        assert!(a.starts_with("cbm_") && a.len() <= LENGTH_MAX && a != b);
        assert_ne!(hash(&a), hash(&b));
        assert_eq!(hash(&a), hash(&a.clone()));
    }
}
