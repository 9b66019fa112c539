//! Private signing keys in PEM files.
//!
//! Invariant: a key file is readable by its owner alone, and a key never shows in logs or errors.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::EncodingKey;

use super::PublicKey;
use crate::secret_file::{self, SecretFileError};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Columns of a PEM file.
const COLUMNS: usize = 64;

/// A private key, and the public one that belongs to it.
#[derive(Clone)]
pub struct SigningKey {
    encoding: EncodingKey,
    public: PublicKey,
    der: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.kid())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("keep a signing key")]
    File(#[source] SecretFileError),
    #[error("there is no key file {path}: ops secrets makes one")]
    Missing { path: PathBuf },
    #[error("{path} holds no Ed25519 private key in PEM (openssl genpkey -algorithm ed25519 makes one)")]
    NotAKey { path: PathBuf },
    #[error("the system gave no random bytes")]
    Random,
}

impl SigningKey {
    /// Reads the key in the file at `path`.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = secret_file::read(path).map_err(KeyError::File)?;
        let text = text.ok_or_else(|| KeyError::Missing { path: path.to_owned() })?;
        Self::from_pem(&text).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })
    }

    /// Reads the key at `path`, or makes one there if there is no file. Of several at once one makes it, and all
    /// read the same.
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Missing { .. }) => {}
            found => return found,
        }
        let made = Self::generate()?;
        let first = secret_file::create(path, &made.to_pem()).map_err(KeyError::File)?;
        if first { Ok(made) } else { Self::load(path) }
    }

    /// Puts a new key where another one is: who signs with the old one goes on to the new one by itself.
    pub fn replace(path: &Path) -> Result<Self, KeyError> {
        let made = Self::generate()?;
        secret_file::replace(path, &made.to_pem()).map_err(KeyError::File)?;
        Ok(made)
    }

    /// A key that is nowhere else.
    pub fn generate() -> Result<Self, KeyError> {
        let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Self::from_der(der.as_ref().to_vec()).ok_or(KeyError::Random)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// 32 bytes that only holders of this key can compute, for another purpose than signing: the same for all
    /// processes that share the key, different for each `purpose`.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.der);
        let tag = hmac::sign(&key, purpose.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }

    #[cfg(feature = "testing")]
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    fn from_pem(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(BEGIN)?;
        let (body, _) = rest.split_once(END)?;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        Self::from_der(STANDARD.decode(body).ok()?)
    }

    fn from_der(der: Vec<u8>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?;
        let public = PublicKey::from_bytes(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { encoding: EncodingKey::from_ed_der(&der), public, der })
    }

    fn to_pem(&self) -> String {
        let body = STANDARD.encode(&self.der);
        let mut out = format!("{BEGIN}\n");
        for line in body.as_bytes().chunks(COLUMNS) {
            out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            out.push('\n');
        }
        out.push_str(END);
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/staff.pem");
        assert!(matches!(SigningKey::load(&path), Err(KeyError::Missing { .. })));
        let made = SigningKey::load_or_generate(&path).unwrap();
        assert_eq!(made.public(), SigningKey::load_or_generate(&path).unwrap().public());
        assert_eq!(made.public(), SigningKey::load(&path).unwrap().public());
    }

    #[test]
    fn a_key_that_is_replaced_is_another_one_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("staff.pem");
        let first = SigningKey::load_or_generate(&path).unwrap();
        let second = SigningKey::replace(&path).unwrap();
        assert_ne!(first.public(), second.public());
        assert_eq!(SigningKey::load(&path).unwrap().public(), second.public());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn racing_makers_end_with_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("visitor.pem");
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || SigningKey::load_or_generate(&path).unwrap().public().clone())
            })
            .collect();
        let kids: std::collections::BTreeSet<_> =
            makers.into_iter().map(|maker| maker.join().unwrap().kid().to_owned()).collect();
        assert_eq!(kids.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let texts = ["", "hunter2", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"];
        for (number, text) in texts.into_iter().enumerate() {
            let path = dir.path().join(number.to_string());
            secret_file::create(&path, text).unwrap();
            let error = SigningKey::load(&path).unwrap_err();
            assert!(matches!(error, KeyError::NotAKey { .. }) && !error.to_string().contains("hunter"));
        }
    }

    #[test]
    fn reads_what_openssl_writes() {
        // openssl genpkey -algorithm ed25519, of the seed in RFC 8032 §7.1 test 1.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.public().x(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(
            key.public().kid(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "RFC 8037 appendix A.3"
        );
    }

    #[test]
    fn derived_bytes_differ_by_purpose_and_key() {
        let (a, b) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        assert_eq!(a.derive("cursor"), a.clone().derive("cursor"));
        assert_ne!(a.derive("cursor"), a.derive("file"));
        assert_ne!(a.derive("cursor"), b.derive("cursor"));
        assert!(!format!("{a:?}").contains(&a.to_pem()[28..60]));
    }
}
