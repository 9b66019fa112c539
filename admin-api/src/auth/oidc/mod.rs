//! Logging in at an OpenID provider: authorisation code with PKCE.
//!
//! Invariant: a login ends in the browser that began it (`state` in a cookie), answers the request that asked for it
//! (`nonce`), and its code is useless without the verifier that never left this service.

mod bind;
mod book;
pub(super) mod challenge;
mod config;
mod flow;
mod id_token;
mod provider;

pub use flow::{oidc_callback, oidc_start};
pub use provider::Providers;
