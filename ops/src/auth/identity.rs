//! Identity tokens: a site's word on who its visitor is (contract §4).
//!
//! Invariant: algorithm and key are those of the widget's record, whatever a token says of itself. Who cannot sign gets
//! one answer for all that they try; who can is told what is wrong.

use bus_schema::{
    Timestamp,
    claims::{IDENTITY_TOKEN_SECONDS, LEEWAY_SECONDS},
    config::IdentityKey,
    limits::EXTERNAL_ID_CHARS_MAX,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::Value;

use super::token::seconds_of;

/// What is longer is not even parsed.
const TOKEN_BYTES_MAX: usize = 4_096;
const PEM_BYTES_MAX: usize = 1_024;
const ED25519_BYTES: usize = 32;

/// Why an identity token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("must have at most {} bytes", TOKEN_BYTES_MAX)]
    TooLong,
    /// Said of all that was not signed with the widget's key by the widget's algorithm.
    #[error("is no JWT that is signed with this widget's key and algorithm")]
    Forged,
    #[error(
        "must have aud and sub as texts, exp as whole seconds since 1970, and nbf and iat, if given, as such"
    )]
    Claims,
    #[error("aud must be the widget's key and nothing else")]
    Audience,
    #[error("sub must have 1 to {} characters, none of them a control character", EXTERNAL_ID_CHARS_MAX)]
    Subject,
    #[error("has expired")]
    Expired,
    #[error("is not valid yet: nbf or iat lies in the future")]
    NotYetValid,
    #[error("must not be valid for longer than {} s", IDENTITY_TOKEN_SECONDS)]
    TooLongValid,
    /// A fault of the record, not of the token.
    #[error("the widget's key cannot be read")]
    Unusable,
}

/// What a site says of its visitor; more may be there and says nothing.
#[derive(Deserialize)]
struct Claims {
    aud: String,
    sub: String,
    exp: u64,
    nbf: Option<u64>,
    iat: Option<u64>,
}

/// The external id that a token proves to a widget.
pub fn verify_identity(
    key: &IdentityKey,
    widget_key: &str,
    token: &str,
    now: Timestamp,
) -> Result<String, IdentityError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IdentityError::TooLong);
    }
    let claims = match key {
        IdentityKey::EdDSA { public_key_pem } => {
            let key = public_key(public_key_pem).ok_or(IdentityError::Unusable)?;
            signed(token, &key, Algorithm::EdDSA)
        }
        IdentityKey::HS256 { secret, previous } => {
            let by =
                |secret: &str| signed(token, &DecodingKey::from_secret(secret.as_bytes()), Algorithm::HS256);
            let previous = previous.as_ref().filter(|previous| now < previous.until);
            by(secret).or_else(|| previous.and_then(|previous| by(&previous.secret)))
        }
    };
    let claims = claims.ok_or(IdentityError::Forged)?;
    let claims: Claims = serde_json::from_value(claims).map_err(|_| IdentityError::Claims)?;
    check(claims, widget_key, seconds_of(now))
}

/// Whether a site may prove its visitors with this key: an Ed25519 public key in PEM.
pub fn is_identity_key(pem: &str) -> bool {
    pem.len() <= PEM_BYTES_MAX && !pem.contains('\0') && public_key(pem).is_some()
}

fn public_key(pem: &str) -> Option<DecodingKey> {
    let key = DecodingKey::from_ed_pem(pem.as_bytes()).ok()?;
    (key.try_get_as_bytes().ok()?.len() == ED25519_BYTES).then_some(key)
}

/// What is claimed, if this key signed it.
fn signed(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Value> {
    let mut rules = Validation::new(algorithm);
    // Claims are checked by type and by the caller's clock.
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
    let decoded = decode::<Value>(token, key, &rules).ok()?;
    // What must be understood and is not (RFC 7515, 4.1.11).
    decoded.header.crit.is_none().then_some(decoded.claims)
}

fn check(claims: Claims, widget_key: &str, now: u64) -> Result<String, IdentityError> {
    let Claims { aud, sub, exp, nbf, iat } = claims;
    if aud != widget_key {
        return Err(IdentityError::Audience);
    }
    if sub.is_empty() || sub.chars().count() > EXTERNAL_ID_CHARS_MAX || sub.chars().any(char::is_control) {
        return Err(IdentityError::Subject);
    }
    if now >= exp.saturating_add(LEEWAY_SECONDS) {
        return Err(IdentityError::Expired);
    }
    let soon = now.saturating_add(LEEWAY_SECONDS);
    if [nbf, iat].into_iter().flatten().any(|from| soon < from) {
        return Err(IdentityError::NotYetValid);
    }
    let life = |from: u64| exp.saturating_sub(from);
    if life(soon) > IDENTITY_TOKEN_SECONDS || iat.is_some_and(|made| life(made) > IDENTITY_TOKEN_SECONDS) {
        return Err(IdentityError::TooLongValid);
    }
    Ok(sub)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
    use bus_schema::config::PreviousSecret;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::{
        super::{Forger, SigningKey, forge::with_secret},
        *,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_795_222_923_004);
    const S: u64 = 1_795_222_923;
    const WIDGET: &str = "wk_site";

    fn secret() -> String {
        "s".repeat(43)
    }

    fn shared(secret: &str) -> IdentityKey {
        IdentityKey::HS256 { secret: secret.to_owned(), previous: None }
    }

    fn good() -> Value {
        json!({ "aud": WIDGET, "sub": "crm-17", "exp": S + 600 })
    }

    fn verify(key: &IdentityKey, token: &str) -> Result<String, IdentityError> {
        verify_identity(key, WIDGET, token, NOW)
    }

    fn by_library(claims: &Value) -> String {
        encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret().as_bytes()))
            .unwrap()
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let key = shared(&secret());
        let with = |change: Value| {
            let mut claims = good();
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            verify(&key, &by_library(&claims))
        };
        let proved = Ok("crm-17".to_owned());
        for (change, wanted) in [
            (json!({}), proved.clone()),
            (json!({ "name": "Ada", "iss": "shop", "jti": "1" }), proved.clone()),
            (json!({ "aud": "wk_other" }), Err(IdentityError::Audience)),
            (json!({ "aud": "WK_SITE" }), Err(IdentityError::Audience)),
            (json!({ "aud": [WIDGET] }), Err(IdentityError::Claims)),
            (json!({ "aud": [WIDGET, "wk_other"] }), Err(IdentityError::Claims)),
            (json!({ "aud": null }), Err(IdentityError::Claims)),
            (json!({ "sub": null }), Err(IdentityError::Claims)),
            (json!({ "sub": 17 }), Err(IdentityError::Claims)),
            (json!({ "sub": "" }), Err(IdentityError::Subject)),
            (json!({ "sub": "a\u{0}b" }), Err(IdentityError::Subject)),
            (json!({ "sub": "ü".repeat(200) }), Ok("ü".repeat(200))),
            (json!({ "sub": "ü".repeat(201) }), Err(IdentityError::Subject)),
            (json!({ "exp": null }), Err(IdentityError::Claims)),
            (json!({ "exp": "9999999999" }), Err(IdentityError::Claims)),
            (json!({ "exp": -1 }), Err(IdentityError::Claims)),
            (json!({ "exp": 1e99 }), Err(IdentityError::Claims)),
            (json!({ "exp": S - 29 }), proved.clone()),
            (json!({ "exp": S - 30 }), Err(IdentityError::Expired)),
            (json!({ "exp": S + 3_630 }), proved.clone()),
            (json!({ "exp": S + 3_631 }), Err(IdentityError::TooLongValid)),
            (json!({ "exp": u64::MAX }), Err(IdentityError::TooLongValid)),
            (json!({ "nbf": S + 30, "iat": S + 30 }), proved.clone()),
            (json!({ "nbf": S + 31 }), Err(IdentityError::NotYetValid)),
            (json!({ "iat": S + 31 }), Err(IdentityError::NotYetValid)),
            (json!({ "iat": S - 3_000 }), proved),
            (json!({ "iat": S - 3_001 }), Err(IdentityError::TooLongValid)),
            // It will be over soon, and counted all day.
            (json!({ "iat": S - 86_400 }), Err(IdentityError::TooLongValid)),
        ] {
            assert_eq!(with(change.clone()), wanted, "{change}");
        }
    }

    #[test]
    fn what_the_widgets_key_did_not_sign_is_one_and_the_same() {
        let own = SigningKey::generate().unwrap();
        let site = Forger::new(&own);
        let public = IdentityKey::EdDSA { public_key_pem: site.public_pem() };
        let header = json!({ "alg": "EdDSA", "typ": "JWT" });
        assert_eq!(verify(&public, &site.sign(&header, &good())), Ok("crm-17".to_owned()));
        let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
        let by_secret = with_secret(secret().as_bytes(), &hs256, &good());
        assert_eq!(verify(&shared(&secret()), &by_secret), Ok("crm-17".to_owned()));
        let forged = |key: &IdentityKey, token: &str, name: &str| {
            assert_eq!(verify(key, token), Err(IdentityError::Forged), "{name}");
        };
        // Confusion: what everybody knows, as the secret.
        let raw = B64.decode(own.public().x()).unwrap();
        let pem = site.public_pem();
        for known in [pem.as_bytes(), pem.trim().as_bytes(), own.public().x().as_bytes(), &raw, b""] {
            for alg in ["HS256", "EdDSA"] {
                let token = with_secret(known, &json!({ "alg": alg }), &good());
                forged(&public, &token, "the public key as a secret");
            }
        }
        forged(&shared(&secret()), &site.sign(&header, &good()), "the site's other algorithm");
        forged(&public, &by_secret, "a secret where a public key is asked for");
        forged(&shared(&"t".repeat(43)), &by_secret, "another widget's secret");
        let other = Forger::new(&SigningKey::generate().unwrap());
        forged(&public, &other.sign(&header, &good()), "another key");
        let stolen = json!({ "alg": "EdDSA", "kid": other.kid(), "jku": "https://evil.example/keys",
            "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" } });
        forged(&public, &other.sign(&stolen, &good()), "a key that the token brings along");
        for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "hs256", ""] {
            let header = json!({ "alg": alg });
            forged(&shared(&secret()), &with_secret(secret().as_bytes(), &header, &good()), alg);
            let unsigned = format!("{}.{}.", B64.encode(header.to_string()), B64.encode(good().to_string()));
            forged(&shared(&secret()), &unsigned, alg);
            forged(&public, &unsigned, alg);
        }
        let critical = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
        let critical = with_secret(secret().as_bytes(), &critical, &good());
        forged(&shared(&secret()), &critical, "what must be understood");
        for mangled in ["", ".", "..", "a.b.c", &by_secret[1..], &by_secret[..by_secret.len() - 2]] {
            forged(&shared(&secret()), mangled, mangled);
        }
        assert_eq!(verify(&public, &"x".repeat(4_097)), Err(IdentityError::TooLong));
    }

    #[test]
    fn kids_change_nothing() {
        for kid in [json!("x"), json!("../../../../dev/null"), json!("' UNION SELECT 's")] {
            let header = json!({ "alg": "HS256", "kid": kid });
            let token = with_secret(secret().as_bytes(), &header, &good());
            assert_eq!(verify(&shared(&secret()), &token), Ok("crm-17".to_owned()));
            let token = with_secret(b"", &header, &good());
            assert_eq!(verify(&shared(&secret()), &token), Err(IdentityError::Forged));
        }
    }

    #[test]
    fn a_replaced_secret_counts_until_its_end() {
        let until = Timestamp::from_millis(NOW.millis() + 1);
        let previous = Some(PreviousSecret { secret: secret(), until });
        let key = IdentityKey::HS256 { secret: "n".repeat(43), previous };
        let token = by_library(&good());
        assert_eq!(verify(&key, &token), Ok("crm-17".to_owned()));
        assert_eq!(verify_identity(&key, WIDGET, &token, until), Err(IdentityError::Forged));
    }

    #[test]
    fn keys_are_ed25519_public_keys_in_pem() {
        let own = SigningKey::generate().unwrap();
        let pem = Forger::new(&own).public_pem();
        assert!(is_identity_key(&pem) && is_identity_key(pem.trim()));
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALqbHeRLCyOdykC5SDLqI49ArYGYG1mq\n\
            aH9/GnWjGavZM02fos4lc2w6tCchcUBNtJvGqKwhC5JEnx3RYoSX2ucCAwEAAQ==\n-----END PUBLIC KEY-----\n";
        let short = pem.replace("MCowBQYDK2VwAyEA", "MCkwBQYDK2VwAyAA");
        for bad in ["", "x", rsa, &short, &pem.replace("PUBLIC", "PRIVATE"), &pem.repeat(20), "\0"] {
            assert!(!is_identity_key(bad), "{bad}");
        }
        let unusable = IdentityKey::EdDSA { public_key_pem: rsa.to_owned() };
        assert_eq!(verify(&unusable, &by_library(&good())), Err(IdentityError::Unusable));
    }
}
