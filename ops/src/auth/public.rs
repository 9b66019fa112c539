//! Public keys as JSON Web Keys, named by their thumbprint.
//!
//! Invariant: a key's `kid` is computed from the key (RFC 7638), so that no record can give a key another's name.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    x: String,
}

/// A record that is no public key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key whose kid is its thumbprint")]
pub struct BadPublicKey;

/// The JSON form.
#[derive(Debug, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
    kid: String,
    x: String,
    /// In the bucket: when somebody last said that they sign with it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signs_at: Option<i64>,
}

impl PublicKey {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(bytes);
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self { kid: URL_SAFE_NO_PAD.encode(thumbprint), x }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself, base64url.
    pub fn x(&self) -> &str {
        &self.x
    }

    /// The record that is kept in the bucket of keys.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.jwk()).expect("strings serialize")
    }

    /// The same with the word of whoever signs with it.
    pub fn to_json_signing(&self, now: Timestamp) -> Vec<u8> {
        let jwk = Jwk { signs_at: Some(now.millis()), ..self.jwk() };
        serde_json::to_vec(&jwk).expect("strings and numbers serialize")
    }

    /// When somebody last said that they sign with the key of a record.
    pub fn signs_at(json: &[u8]) -> Option<Timestamp> {
        let jwk: Jwk = serde_json::from_slice(json).ok()?;
        jwk.signs_at.map(Timestamp::from_millis)
    }

    pub fn from_json(json: &[u8]) -> Result<Self, BadPublicKey> {
        let jwk: Jwk = serde_json::from_slice(json).map_err(|_| BadPublicKey)?;
        let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).map_err(|_| BadPublicKey)?;
        let key = Self::from_bytes(bytes.try_into().map_err(|_| BadPublicKey)?);
        let ours = jwk.kty == "OKP" && jwk.crv == "Ed25519" && jwk.kid == key.kid;
        if ours { Ok(key) } else { Err(BadPublicKey) }
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
            kid: self.kid.clone(),
            x: self.x.clone(),
            signs_at: None,
        }
    }
}

/// The document at `/.well-known/jwks.json`.
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> serde_json::Value {
    let keys: Vec<_> = keys.into_iter().map(PublicKey::jwk).collect();
    serde_json::json!({ "keys": keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_forged_names_are_refused() {
        let key = PublicKey::from_bytes([7; 32]);
        assert_eq!(PublicKey::from_json(&key.to_json()), Ok(key.clone()));
        let other = PublicKey::from_bytes([8; 32]);
        let forged = String::from_utf8(key.to_json()).unwrap().replace(key.kid(), other.kid());
        assert_eq!(PublicKey::from_json(forged.as_bytes()), Err(BadPublicKey));
        assert_eq!(PublicKey::from_json(b"{}"), Err(BadPublicKey));
        let signing = key.to_json_signing(Timestamp::from_millis(7));
        assert_eq!(PublicKey::from_json(&signing), Ok(key.clone()), "older readers know the key in it");
        assert_eq!(PublicKey::signs_at(&signing), Some(Timestamp::from_millis(7)));
        assert_eq!(PublicKey::signs_at(&key.to_json()), None);
        assert_eq!(jwks([&key])["keys"][0]["kid"], key.kid());
    }
}
