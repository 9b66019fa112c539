//! What an ID token proves (OpenID Connect Core §3.1.3.7).
//!
//! Invariant: pure; it counts only if a key of the provider signed it with an asymmetric algorithm that fits the key,
//! for this client, about this very login, and now.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, Jwk, JwkSet},
};
use serde::Deserialize;

const LEEWAY_SECONDS: u64 = 30;
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Who somebody is at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub subject: String,
    /// Only an address that the provider says is theirs.
    pub email: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdToken {
    #[error("it is no ID token")]
    Malformed,
    /// The provider may have a newer key.
    #[error("its key is not known")]
    UnknownKey,
    #[error("its algorithm is not one that its key is for")]
    Algorithm,
    #[error("its signature, issuer, audience or time is wrong")]
    Refused,
    #[error("it is about another login")]
    Nonce,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<bool>,
}

pub fn verify(
    token: &str,
    keys: &JwkSet,
    issuer: &str,
    client_id: &str,
    nonce: &str,
) -> Result<Identity, BadIdToken> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadIdToken::Malformed);
    }
    let header = decode_header(token).map_err(|_| BadIdToken::Malformed)?;
    let key = pick(keys, header.kid.as_deref(), header.alg).ok_or(BadIdToken::UnknownKey)?;
    if !fits(key, header.alg) {
        return Err(BadIdToken::Algorithm);
    }
    let decoding = DecodingKey::from_jwk(key).map_err(|_| BadIdToken::Algorithm)?;
    let mut rules = Validation::new(header.alg);
    rules.leeway = LEEWAY_SECONDS;
    rules.validate_nbf = true;
    rules.set_audience(&[client_id]);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let claims = decode::<Claims>(token, &decoding, &rules).map_err(|_| BadIdToken::Refused)?.claims;
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(BadIdToken::Nonce);
    }
    if claims.azp.as_deref().is_some_and(|party| party != client_id) || claims.sub.is_empty() {
        return Err(BadIdToken::Refused);
    }
    let email = claims.email.filter(|_| claims.email_verified == Some(true));
    Ok(Identity { subject: claims.sub, email })
}

/// The key that the token names; of a provider with one key for the algorithm, that one.
fn pick<'a>(keys: &'a JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<&'a Jwk> {
    if let Some(kid) = kid {
        return keys.find(kid);
    }
    let mut fitting = keys.keys.iter().filter(|key| fits(key, algorithm));
    let first = fitting.next();
    first.filter(|_| fitting.next().is_none())
}

/// Never one with a shared secret: our own client secret would sign as the provider.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
        ),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, Algorithm::ES256 | Algorithm::ES384),
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use ops::auth::SigningKey;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example";

    fn keys(key: &SigningKey) -> JwkSet {
        let jwk: Value = serde_json::from_slice(&key.public().to_json()).unwrap();
        serde_json::from_value(json!({ "keys": [jwk] })).unwrap()
    }

    /// Any token of ours, with its claims replaced by these and signed anew.
    fn signed(key: &ops::auth::Forger, change: impl Fn(&mut Value, &mut Value)) -> String {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut header = json!({ "alg": "EdDSA", "kid": key.kid() });
        let mut claims = json!({
            "iss": ISSUER, "aud": "us", "sub": "7", "nonce": "n", "iat": now, "exp": now + 60,
            "email": "a@b.example", "email_verified": true,
        });
        change(&mut header, &mut claims);
        key.sign(&header, &claims)
    }

    #[test]
    fn an_id_token_is_for_this_login_alone() {
        let key = SigningKey::generate().unwrap();
        let (forger, known) = (ops::auth::Forger::new(&key), keys(&key));
        let check =
            |change: fn(&mut Value, &mut Value)| verify(&signed(&forger, change), &known, ISSUER, "us", "n");
        let good = Identity { subject: "7".into(), email: Some("a@b.example".into()) };
        assert_eq!(check(|_, _| {}), Ok(good.clone()));
        assert_eq!(check(|h, _| drop(h.as_object_mut().unwrap().remove("kid"))), Ok(good.clone()));
        assert_eq!(check(|_, c| c["aud"] = json!(["us"])), Ok(good.clone()));
        let nameless = Identity { email: None, ..good };
        assert_eq!(check(|_, c| c["email_verified"] = json!(false)), Ok(nameless.clone()));
        assert_eq!(check(|_, c| drop(c.as_object_mut().unwrap().remove("email_verified"))), Ok(nameless));
        type Case = (fn(&mut Value, &mut Value), BadIdToken);
        let cases: &[Case] = &[
            (|_, c| c["nonce"] = json!("m"), BadIdToken::Nonce),
            (|_, c| drop(c.as_object_mut().unwrap().remove("nonce")), BadIdToken::Nonce),
            (|_, c| c["aud"] = json!("them"), BadIdToken::Refused),
            (|_, c| c["azp"] = json!("them"), BadIdToken::Refused),
            (|_, c| c["iss"] = json!("https://evil.example"), BadIdToken::Refused),
            (|_, c| c["exp"] = json!(1), BadIdToken::Refused),
            (|_, c| c["exp"] = json!("9999999999"), BadIdToken::Refused),
            (|_, c| drop(c.as_object_mut().unwrap().remove("exp")), BadIdToken::Refused),
            (|_, c| c["nbf"] = json!(9_999_999_999_u64), BadIdToken::Refused),
            (|_, c| c["sub"] = json!(""), BadIdToken::Refused),
            (|_, c| c["email_verified"] = json!("true"), BadIdToken::Refused),
            (|h, _| h["kid"] = json!("x"), BadIdToken::UnknownKey),
            (|h, _| h["alg"] = json!("HS256"), BadIdToken::Algorithm),
            (|h, _| h["alg"] = json!("none"), BadIdToken::Malformed),
        ];
        for (at, (change, wanted)) in cases.iter().enumerate() {
            assert_eq!(check(*change), Err(*wanted), "{at}");
        }
    }

    #[test]
    fn our_own_secret_never_signs_as_the_provider() {
        let secret: JwkSet =
            serde_json::from_value(json!({ "keys": [{ "kty": "oct", "kid": "k", "k": "aHVudGVyMg" }] }))
                .unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".into());
        let claims =
            json!({ "iss": ISSUER, "aud": "us", "sub": "7", "nonce": "n", "exp": 9_999_999_999_u64 });
        let token = encode(&header, &claims, &EncodingKey::from_secret(b"hunter2")).unwrap();
        assert_eq!(verify(&token, &secret, ISSUER, "us", "n"), Err(BadIdToken::Algorithm));
    }
}
