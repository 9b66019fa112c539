//! Keys and tokens: EdDSA alone, one kind of token for staff and one for visitors (contract §4, “Tokens”); and the
//! tokens by which sites prove their visitors.
//!
//! Invariant: a token verifies only with a key published for its own audience, never by what the token says
//! about itself.

mod follow;
#[cfg(feature = "testing")]
mod forge;
mod identity;
mod key;
mod key_set;
mod public;
mod stand;
mod token;

pub use follow::{KEYS_CHECK, follow, publish};
#[cfg(feature = "testing")]
pub use forge::{Forged, Forger, forged, with_secret};
pub use identity::{IdentityError, is_identity_key, verify_identity};
pub use key::{KeyError, SigningKey};
pub use key_set::{Audience, KeySet};
pub use public::{BadPublicKey, PublicKey, jwks};
pub use stand::{affirm, follow_into, forget_unused};
pub use token::{
    Minted, StaffGrant, TokenError, VisitorGrant, mint_staff, mint_visitor, verify_staff, verify_visitor,
};
