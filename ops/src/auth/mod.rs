//! Keys and tokens: EdDSA alone, one kind of token for staff and one for visitors (contract §4, “Tokens”).
//!
//! Invariant: a token verifies only with a key published for its own audience, never by what the token says
//! about itself.

mod follow;
#[cfg(feature = "testing")]
mod forge;
mod key;
mod key_set;
mod public;
mod stand;
mod token;

pub use follow::{KEYS_CHECK, follow, publish};
#[cfg(feature = "testing")]
pub use forge::{Forged, Forger, forged};
pub use key::{KeyError, SigningKey};
pub use key_set::{Audience, KeySet};
pub use public::{BadPublicKey, PublicKey, jwks};
pub use stand::{affirm, follow_into, forget_unused};
pub use token::{
    Minted, StaffGrant, TokenError, VisitorGrant, mint_staff, mint_visitor, verify_staff, verify_visitor,
};
