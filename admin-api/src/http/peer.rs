//! The caller's network address, for limits.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;
use ops::peer::Proxies;

use super::Problem;

/// The client's address as [`ops::peer`] finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub ops::peer::Peer);

impl<S> FromRequestParts<S> for Peer
where
    S: Send + Sync,
    Proxies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = info.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |info| info.0.ip());
        let named = Proxies::from_ref(state).client(peer, &parts.headers);
        // Passwords are guessed slowly through a proxy that names nobody, too.
        Ok(Self(named.unwrap_or_else(|| ops::peer::Peer::new(peer))))
    }
}
