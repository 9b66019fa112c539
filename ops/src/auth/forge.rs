//! Tokens that must not count, made out of one that does: for tests.
//!
//! Every way in is tried with the same list.

use aws_lc_rs::{hmac, signature::Ed25519KeyPair};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64},
};
use serde_json::{Value, json};

use super::SigningKey;

/// What stands before the key's bytes in its DER form (RFC 8410).
const SPKI_OF_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A token that must be refused, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Forged {
    pub name: &'static str,
    pub token: String,
}

type Change = fn(&mut Value, &mut Value);

/// What is wrong in the header or in the claims of tokens that our own key signed.
const CHANGES: &[(&str, Change)] = &[
    ("no kid", |h, _| drop(h.as_object_mut().map(|h| h.remove("kid")))),
    ("unknown kid", |h, _| h["kid"] = json!("nobody")),
    ("kid of another type", |h, _| h["kid"] = json!(1)),
    ("kid that is null", |h, _| h["kid"] = json!(null)),
    ("kid as a path", |h, _| h["kid"] = json!("../../../../dev/null")),
    ("kid as SQL", |h, _| h["kid"] = json!("x' UNION SELECT 'secret")),
    ("kid with a wildcard", |h, _| h["kid"] = json!("staff.*")),
    ("no typ", |h, _| drop(h.as_object_mut().map(|h| h.remove("typ")))),
    ("typ of a plain JWT", |h, _| h["typ"] = json!("JWT")),
    ("alg none", |h, _| h["alg"] = json!("none")),
    ("alg None", |h, _| h["alg"] = json!("None")),
    ("alg HS256", |h, _| h["alg"] = json!("HS256")),
    ("alg RS256", |h, _| h["alg"] = json!("RS256")),
    ("alg ES256", |h, _| h["alg"] = json!("ES256")),
    ("alg of another type", |h, _| h["alg"] = json!(["EdDSA"])),
    ("exp as text", |_, c| c["exp"] = json!("9999999999")),
    ("exp null", |_, c| c["exp"] = json!(null)),
    ("exp negative", |_, c| c["exp"] = json!(-1)),
    ("exp out of range", |_, c| c["exp"] = json!(1e99)),
    ("exp as a list", |_, c| c["exp"] = json!([9_999_999_999_u64])),
    ("no exp", |_, c| drop(c.as_object_mut().map(|c| c.remove("exp")))),
    ("nbf as text", |_, c| c["nbf"] = json!("0")),
    ("no nbf", |_, c| drop(c.as_object_mut().map(|c| c.remove("nbf")))),
    ("aud of somebody else", |_, c| c["aud"] = json!("somebody-else")),
    ("aud a list with ours", |_, c| c["aud"] = json!([c["aud"].clone(), "x"])),
    ("no aud", |_, c| drop(c.as_object_mut().map(|c| c.remove("aud")))),
    ("iss of somebody else", |_, c| c["iss"] = json!("https://evil.example")),
    ("no iss", |_, c| drop(c.as_object_mut().map(|c| c.remove("iss")))),
    ("no tenant", |_, c| drop(c.as_object_mut().map(|c| c.remove("tid")))),
    ("tenant of another type", |_, c| c["tid"] = json!(0)),
    ("no subject", |_, c| drop(c.as_object_mut().map(|c| c.remove("sub")))),
    ("subject of another type", |_, c| c["sub"] = json!({ "$ne": null })),
    ("claims that are no object", |_, c| *c = json!([1])),
    ("expired", |_, c| c["exp"] = json!(1)),
    ("not valid yet", |_, c| c["nbf"] = json!(u64::MAX)),
];

/// All of them, made out of `good`, which `key` signed.
pub fn forged(key: &SigningKey, good: &str) -> Vec<Forged> {
    let parts: Vec<&str> = good.split('.').collect();
    let part = |at: usize| -> Value {
        serde_json::from_slice(&B64.decode(parts[at]).expect("a good token")).expect("a good token")
    };
    let (header, claims) = (part(0), part(1));
    let mut out = Vec::new();
    for (name, change) in CHANGES {
        let (mut header, mut claims) = (header.clone(), claims.clone());
        change(&mut header, &mut claims);
        out.push(Forged { name, token: sign(key.der(), &header, &claims) });
    }
    let mut add = |name, token| out.push(Forged { name, token });
    confused(key, &header, &claims, &mut add);
    stolen(&header, &claims, &mut add);
    mangled(good, &parts, &mut add);
    out
}

/// The public key as a secret, or no signature at all.
fn confused(key: &SigningKey, header: &Value, claims: &Value, add: &mut impl FnMut(&'static str, String)) {
    let public = key.public();
    let raw = B64.decode(public.x()).expect("a key");
    let pem = Forger::new(key).public_pem();
    let mut confused = header.clone();
    confused["alg"] = json!("HS256");
    for (name, secret) in [
        ("HMAC with the public key's text", public.x().as_bytes()),
        ("HMAC with the public key's bytes", &raw),
        ("HMAC with the public key in PEM", pem.as_bytes()),
        ("HMAC with the public record", &public.to_json()),
        ("HMAC with nothing", b""),
    ] {
        add(name, with_secret(secret, &confused, claims));
    }
    for (name, alg) in [("none, unsigned", "none"), ("NONE, unsigned", "NONE"), ("unsigned", "EdDSA")] {
        let mut unsigned = header.clone();
        unsigned["alg"] = json!(alg);
        add(name, format!("{}.{}.", encoded(&unsigned), encoded(claims)));
    }
}

/// Somebody else's key, which the token itself brings along.
fn stolen(header: &Value, claims: &Value, add: &mut impl FnMut(&'static str, String)) {
    let Ok(theirs) = SigningKey::generate() else { return };
    add("another key under our kid", sign(theirs.der(), header, claims));
    let jwk: Value = serde_json::from_slice(&theirs.public().to_json()).expect("a record is JSON");
    for (name, field, value) in [
        ("a key in jwk", "jwk", jwk.clone()),
        ("a key behind jku", "jku", json!("https://evil.example/jwks.json")),
        ("a key behind x5u", "x5u", json!("https://evil.example/cert.pem")),
    ] {
        let mut bringing = header.clone();
        bringing[field] = value;
        add(name, sign(theirs.der(), &bringing, claims));
        bringing["kid"] = json!(theirs.public().kid());
        add(name, sign(theirs.der(), &bringing, claims));
    }
}

fn mangled(good: &str, parts: &[&str], add: &mut impl FnMut(&'static str, String)) {
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    add("nothing", String::new());
    add("dots", "..".to_owned());
    add("no signature", format!("{header}.{claims}"));
    add("one part too many", format!("{good}.{signature}"));
    add("another's signature", format!("{header}.{claims}.{}", B64.encode([7; 64])));
    add("a short signature", format!("{header}.{claims}.{}", &signature[..signature.len() - 2]));
    add("the header twice", format!("{header}.{header}.{signature}"));
    add("characters of plain base64", format!("{header}.{claims}.{signature}=="));
    add("cut off", good[..good.len() / 2].to_owned());
    add("one byte changed", {
        let mut bytes = good.as_bytes().to_vec();
        let at = header.len() + claims.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    });
    add("too long", format!("{good}{}", "A".repeat(4096)));
}

fn encoded(value: &Value) -> String {
    B64.encode(value.to_string())
}

/// Signs whatever it is told to.
#[derive(Debug, Clone)]
pub struct Forger(SigningKey);

impl Forger {
    pub fn new(key: &SigningKey) -> Self {
        Self(key.clone())
    }

    pub fn kid(&self) -> &str {
        self.0.public().kid()
    }

    /// What a site gives to its widget.
    pub fn public_pem(&self) -> String {
        let raw = B64.decode(self.0.public().x()).expect("a key");
        let der = [&SPKI_OF_ED25519[..], &raw].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        sign(self.0.der(), header, claims)
    }
}

/// Signs whatever it is told to with HMAC, whatever the header says.
pub fn with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", B64.encode(tag))
}

fn sign(der: &[u8], header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).expect("a key of ours");
    format!("{text}.{}", B64.encode(pair.sign(text.as_bytes())))
}
