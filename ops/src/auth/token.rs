//! Minting and verifying tokens.
//!
//! Invariant: a token counts only if it is `at+jwt`, signed with EdDSA by a known key of its audience, names
//! issuer and audience, and holds `exp` and `nbf` as numbers that fit the given time.

use std::{sync::LazyLock, time::Duration};

use bus_schema::{
    AgentId, SessionId, TenantId, Timestamp, VisitorId, WidgetId,
    claims::{
        LEEWAY_SECONDS, Role, STAFF_AUDIENCE, STAFF_ISSUER, STAFF_TOKEN_SECONDS, StaffClaims, TOKEN_TYPE,
        VISITOR_AUDIENCE, VISITOR_ISSUER, VISITOR_TOKEN_SECONDS, VisitorClaims,
    },
};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use serde::{Serialize, de::DeserializeOwned};

use super::{Audience, KeySet, SigningKey};

/// No token of ours is longer; what is longer is not even parsed.
const TOKEN_BYTES_MAX: usize = 2_048;

/// A token, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Who a staff token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaffGrant {
    pub agent: AgentId,
    pub tenant: TenantId,
    pub role: Role,
    pub session: SessionId,
}

/// Who a visitor token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitorGrant {
    pub visitor: VisitorId,
    pub tenant: TenantId,
    pub widget: WidgetId,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is no token")]
    Malformed,
    #[error("it is of another type or algorithm")]
    WrongType,
    #[error("its key is not known")]
    UnknownKey,
    #[error("its signature is wrong")]
    BadSignature,
    #[error("it is for another audience or from another issuer")]
    WrongAudience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
}

/// A staff token for the full life of such tokens.
pub fn mint_staff(key: &SigningKey, grant: StaffGrant, now: Timestamp) -> Minted {
    let (iat, exp) = life(now, STAFF_TOKEN_SECONDS);
    let claims = StaffClaims {
        iss: STAFF_ISSUER.to_owned(),
        aud: STAFF_AUDIENCE.to_owned(),
        sub: grant.agent,
        tid: grant.tenant,
        role: grant.role,
        sid: grant.session,
        iat,
        nbf: iat,
        exp,
    };
    mint(key, &claims, exp)
}

/// A visitor token for the full life of such tokens.
pub fn mint_visitor(key: &SigningKey, grant: VisitorGrant, now: Timestamp) -> Minted {
    let (iat, exp) = life(now, VISITOR_TOKEN_SECONDS);
    let claims = VisitorClaims {
        iss: VISITOR_ISSUER.to_owned(),
        aud: VISITOR_AUDIENCE.to_owned(),
        sub: grant.visitor,
        tid: grant.tenant,
        wid: grant.widget,
        iat,
        nbf: iat,
        exp,
    };
    mint(key, &claims, exp)
}

pub fn verify_staff(keys: &KeySet, token: &str, now: Timestamp) -> Result<StaffClaims, TokenError> {
    static RULES: LazyLock<Validation> = LazyLock::new(|| rules(STAFF_AUDIENCE, STAFF_ISSUER));
    let claims: StaffClaims = verify(keys, Audience::Staff, &RULES, token)?;
    in_time(claims.nbf, claims.exp, now).map(|()| claims)
}

pub fn verify_visitor(keys: &KeySet, token: &str, now: Timestamp) -> Result<VisitorClaims, TokenError> {
    static RULES: LazyLock<Validation> = LazyLock::new(|| rules(VISITOR_AUDIENCE, VISITOR_ISSUER));
    let claims: VisitorClaims = verify(keys, Audience::Visitor, &RULES, token)?;
    in_time(claims.nbf, claims.exp, now).map(|()| claims)
}

fn life(now: Timestamp, seconds: u64) -> (u64, u64) {
    let iat = seconds_of(now);
    (iat, iat + seconds)
}

pub(super) fn seconds_of(time: Timestamp) -> u64 {
    u64::try_from(time.millis().div_euclid(1000)).unwrap_or(0)
}

fn mint(key: &SigningKey, claims: &impl Serialize, exp: u64) -> Minted {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = Some(key.public().kid().to_owned());
    let token = encode(&header, claims, key.encoding()).expect("a loaded Ed25519 key signs plain claims");
    Minted { token, expires_at: Timestamp::default().plus(Duration::from_secs(exp)) }
}

/// Time is checked against the caller's clock, on claims that are numbers by type.
fn rules(audience: &str, issuer: &str) -> Validation {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss"]);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

fn verify<T: DeserializeOwned>(
    keys: &KeySet,
    audience: Audience,
    rules: &Validation,
    token: &str,
) -> Result<T, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|error| reason(error.kind()))?;
    if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
        return Err(TokenError::WrongType);
    }
    let kid = header.kid.ok_or(TokenError::UnknownKey)?;
    let decoded =
        keys.with(audience, &kid, |key| decode::<T>(token, key, rules)).ok_or(TokenError::UnknownKey)?;
    decoded.map(|token| token.claims).map_err(|error| reason(error.kind()))
}

fn reason(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => TokenError::WrongAudience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::WrongType,
        _ => TokenError::Malformed,
    }
}

fn in_time(nbf: u64, exp: u64, now: Timestamp) -> Result<(), TokenError> {
    let now = seconds_of(now);
    if now >= exp.saturating_add(LEEWAY_SECONDS) {
        return Err(TokenError::Expired);
    }
    if now.saturating_add(LEEWAY_SECONDS) < nbf {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_222_923_004);

    struct World {
        staff: SigningKey,
        visitor: SigningKey,
        keys: KeySet,
    }

    fn world() -> World {
        let (staff, visitor) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let keys = KeySet::default();
        keys.add(Audience::Staff, staff.public().clone());
        keys.add(Audience::Visitor, visitor.public().clone());
        World { staff, visitor, keys }
    }

    fn grant() -> StaffGrant {
        StaffGrant { agent: AgentId::NIL, tenant: TenantId::NIL, role: Role::Admin, session: SessionId::NIL }
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    /// A token as told, signed with the staff key.
    fn signed(world: &World, change: impl Fn(&mut Header, &mut Value)) -> String {
        let good = mint_staff(&world.staff, grant(), NOW).token;
        let claims = URL_SAFE_NO_PAD.decode(good.split('.').nth(1).unwrap()).unwrap();
        let mut claims: Value = serde_json::from_slice(&claims).unwrap();
        let mut header = decode_header(&good).unwrap();
        change(&mut header, &mut claims);
        encode(&header, &claims, world.staff.encoding()).unwrap()
    }

    #[test]
    fn tokens_verify_for_their_whole_life_and_thirty_seconds_more() {
        let world = world();
        let minted = mint_staff(&world.staff, grant(), NOW);
        let life = STAFF_TOKEN_SECONDS;
        assert_eq!(
            minted.expires_at.since(NOW).as_secs(),
            life - 1,
            "whole seconds, never longer than promised"
        );
        for (at, wanted) in
            [(0, None), (life, None), (life + 29, None), (life + 30, Some(TokenError::Expired))]
        {
            assert_eq!(verify_staff(&world.keys, &minted.token, later(at)).err(), wanted, "{at} s");
        }
        let early = Timestamp::from_millis(NOW.millis() - 32_000);
        assert_eq!(verify_staff(&world.keys, &minted.token, early), Err(TokenError::NotYetValid));
        let claims = verify_staff(&world.keys, &minted.token, NOW).unwrap();
        assert_eq!((claims.role, claims.sub), (Role::Admin, AgentId::NIL));
    }

    #[test]
    fn a_token_of_one_audience_is_none_of_the_other() {
        let world = world();
        let visitor = VisitorGrant { visitor: VisitorId::NIL, tenant: TenantId::NIL, widget: WidgetId::NIL };
        let token = mint_visitor(&world.visitor, visitor, NOW).token;
        assert!(verify_visitor(&world.keys, &token, NOW).is_ok());
        assert_eq!(verify_staff(&world.keys, &token, NOW), Err(TokenError::UnknownKey));
        // Not even when signed by the other's key: its claims are none of a staff token.
        let crossed = mint_visitor(&world.staff, visitor, NOW).token;
        assert_eq!(verify_staff(&world.keys, &crossed, NOW), Err(TokenError::Malformed));
        assert_eq!(verify_visitor(&world.keys, &crossed, NOW), Err(TokenError::UnknownKey));
    }

    #[test]
    fn what_a_token_says_about_itself_does_not_make_it_count() {
        let world = world();
        type Change = fn(&mut Header, &mut Value);
        let cases: &[(&str, Change, TokenError)] = &[
            ("no kid", |h, _| h.kid = None, TokenError::UnknownKey),
            ("foreign kid", |h, _| h.kid = Some("x".into()), TokenError::UnknownKey),
            ("plain JWT", |h, _| h.typ = Some("JWT".into()), TokenError::WrongType),
            ("no typ", |h, _| h.typ = None, TokenError::WrongType),
            ("wrong aud", |_, c| c["aud"] = json!("chatbus-visitor"), TokenError::WrongAudience),
            ("wrong iss", |_, c| c["iss"] = json!("me"), TokenError::WrongAudience),
            ("string exp", |_, c| c["exp"] = json!("9999999999"), TokenError::Malformed),
            ("fractional exp", |_, c| c["exp"] = json!(1e99), TokenError::Malformed),
            ("no exp", |_, c| drop(c.as_object_mut().unwrap().remove("exp")), TokenError::Malformed),
            ("no nbf", |_, c| drop(c.as_object_mut().unwrap().remove("nbf")), TokenError::Malformed),
            ("no aud", |_, c| drop(c.as_object_mut().unwrap().remove("aud")), TokenError::Malformed),
            ("no iss", |_, c| drop(c.as_object_mut().unwrap().remove("iss")), TokenError::Malformed),
            ("unknown role", |_, c| c["role"] = json!("root"), TokenError::Malformed),
            ("no tenant", |_, c| drop(c.as_object_mut().unwrap().remove("tid")), TokenError::Malformed),
            ("exp in the past", |_, c| c["exp"] = json!(1), TokenError::Expired),
            ("nbf far off", |_, c| c["nbf"] = json!(u64::MAX), TokenError::NotYetValid),
        ];
        for (name, change, wanted) in cases {
            assert_eq!(verify_staff(&world.keys, &signed(&world, change), NOW), Err(*wanted), "{name}");
        }
        assert!(verify_staff(&world.keys, &signed(&world, |_, _| {}), NOW).is_ok());
    }

    #[test]
    fn other_algorithms_are_refused_whatever_they_are_signed_with() {
        let world = world();
        let good = mint_staff(&world.staff, grant(), NOW).token;
        let claims = good.split('.').nth(1).unwrap();
        let kid = world.staff.public().kid();
        for alg in ["none", "HS256", "RS256", "ES256", "HS512"] {
            let header =
                URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": TOKEN_TYPE, "kid": kid}).to_string());
            for signature in ["", good.split('.').nth(2).unwrap()] {
                let token = format!("{header}.{claims}.{signature}");
                assert!(verify_staff(&world.keys, &token, NOW).is_err(), "{alg}");
            }
        }
        // The public key as an HMAC secret: the classic confusion.
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TOKEN_TYPE.into());
        header.kid = Some(kid.to_owned());
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        for secret in
            [world.staff.public().x().as_bytes(), &URL_SAFE_NO_PAD.decode(world.staff.public().x()).unwrap()]
        {
            let token = encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(verify_staff(&world.keys, &token, NOW), Err(TokenError::WrongType));
        }
    }

    #[test]
    fn changed_and_mangled_tokens_are_refused() {
        let world = world();
        let good = mint_staff(&world.staff, grant(), NOW).token;
        let other = SigningKey::generate().unwrap();
        let mut forged = mint_staff(&other, grant(), NOW).token;
        forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, forged.rsplit_once('.').unwrap().1);
        assert_eq!(verify_staff(&world.keys, &forged, NOW), Err(TokenError::BadSignature));
        for mangled in ["", ".", "..", "a.b.c", &good[..good.len() - 2], &good[1..], &"x".repeat(1 << 20)] {
            assert!(verify_staff(&world.keys, mangled, NOW).is_err());
        }
        world.keys.remove(Audience::Staff, world.staff.public().kid());
        assert_eq!(verify_staff(&world.keys, &good, NOW), Err(TokenError::UnknownKey));
    }
}
