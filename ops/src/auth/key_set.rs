//! The public keys that count now.
//!
//! Invariant: each audience has keys of its own; a key of one never verifies a token of the other.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;

use super::PublicKey;

/// Whose tokens a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    Staff,
    Visitor,
}

impl Audience {
    pub const ALL: [Self; 2] = [Self::Staff, Self::Visitor];

    /// The first word of the key's name in the bucket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Visitor => "visitor",
        }
    }
}

/// Public keys by audience and `kid`; read without locks, replaced whole.
#[derive(Default)]
pub struct KeySet {
    staff: ArcSwap<Keys>,
    visitor: ArcSwap<Keys>,
}

type Keys = BTreeMap<String, Key>;

#[derive(Clone)]
struct Key {
    public: PublicKey,
    decoding: DecodingKey,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids = |audience| self.keys(audience).iter().map(|key| key.kid().to_owned()).collect::<Vec<_>>();
        write!(f, "KeySet(staff: {:?}, visitor: {:?})", kids(Audience::Staff), kids(Audience::Visitor))
    }
}

impl KeySet {
    /// Adds a key; one that is there already stays.
    pub fn add(&self, audience: Audience, public: PublicKey) {
        let Ok(decoding) = DecodingKey::from_ed_components(public.x()) else { return };
        self.of(audience).rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.insert(public.kid().to_owned(), Key { public: public.clone(), decoding: decoding.clone() });
            keys
        });
    }

    /// Tokens signed with this key count no longer.
    pub fn remove(&self, audience: Audience, kid: &str) {
        self.of(audience).rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.remove(kid);
            keys
        });
    }

    /// Forgets every key but those whose `kid` passes.
    pub fn retain(&self, audience: Audience, passes: impl Fn(&str) -> bool) {
        self.of(audience).rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.retain(|kid, _| passes(kid));
            keys
        });
    }

    /// The keys of an audience, by `kid`.
    pub fn keys(&self, audience: Audience) -> Vec<PublicKey> {
        self.of(audience).load().values().map(|key| key.public.clone()).collect()
    }

    pub fn is_empty(&self, audience: Audience) -> bool {
        self.of(audience).load().is_empty()
    }

    pub(super) fn with<T>(
        &self,
        audience: Audience,
        kid: &str,
        use_key: impl FnOnce(&DecodingKey) -> T,
    ) -> Option<T> {
        self.of(audience).load().get(kid).map(|key| use_key(&key.decoding))
    }

    fn of(&self, audience: Audience) -> &ArcSwap<Keys> {
        match audience {
            Audience::Staff => &self.staff,
            Audience::Visitor => &self.visitor,
        }
    }
}
