//! The key that signs staff tokens, and the keys that verify them.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use bus_schema::claims::StaffClaims;
use ops::{
    auth::{self, Audience, KeyError, KeySet, Minted, SigningKey, StaffGrant},
    settings::Profile,
};

use crate::clock;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: Arc<ArcSwap<SigningKey>>,
    keys: Arc<KeySet>,
}

impl Tokens {
    pub fn new(key: SigningKey) -> Self {
        let keys = KeySet::default();
        keys.add(Audience::Staff, key.public().clone());
        Self { key: Arc::new(ArcSwap::from_pointee(key)), keys: Arc::new(keys) }
    }

    /// In development a key that is missing is made.
    pub fn load(path: &Path, profile: Profile) -> Result<Self, KeyError> {
        match profile {
            Profile::Development => SigningKey::load_or_generate(path),
            Profile::Production => SigningKey::load(path),
        }
        .map(Self::new)
    }

    pub fn mint(&self, grant: StaffGrant) -> Minted {
        auth::mint_staff(&self.key.load(), grant, clock::now())
    }

    /// The claims of a token that counts now.
    pub fn verify(&self, token: &str) -> Option<StaffClaims> {
        auth::verify_staff(&self.keys, token, clock::now()).ok()
    }

    pub fn signing_key(&self) -> Arc<SigningKey> {
        self.key.load_full()
    }

    /// Accepts what this key signed, before it signs itself.
    pub fn accept(&self, key: &SigningKey) {
        self.keys.add(Audience::Staff, key.public().clone());
    }

    /// Signs with this key from now on.
    pub fn sign_with(&self, key: SigningKey) {
        self.accept(&key);
        self.key.store(Arc::new(key));
    }

    /// The keys that verify.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    pub fn jwks(&self) -> serde_json::Value {
        auth::jwks(&self.keys.keys(Audience::Staff))
    }
}
