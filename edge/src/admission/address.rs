//! Where a request comes from.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request},
    http::{Extensions, HeaderMap, request::Parts},
};
use ops::peer::Peer;

use super::{Admission, Overloaded, Pass};
use crate::app::App;

/// The connection that carries a request; it counts until the last request and socket of it are gone.
#[derive(Debug, Clone)]
pub struct Via {
    remote: IpAddr,
    _pass: Arc<Pass<Peer>>,
}

/// Whose request it is, as limits count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// None: a trusted proxy does not say, and no limit of an address holds.
    pub peer: Option<Peer>,
    pub through_proxy: bool,
}

/// What a socket holds of the way it came by; it counts until the socket is gone.
#[derive(Debug)]
pub struct Door {
    pub peer: Option<Peer>,
    _via: Via,
    _forwarded: Option<Pass<Peer>>,
}

impl Via {
    fn of(extensions: &Extensions) -> &Self {
        extensions.get().expect("the listener puts it into every request")
    }

    pub(super) fn new(remote: IpAddr, pass: Pass<Peer>) -> Self {
        Self { remote, _pass: Arc::new(pass) }
    }
}

impl Admission {
    /// Lets a socket in, if those of its address are not too many already.
    pub fn door(&self, request: &Request) -> Result<Door, Overloaded> {
        let caller = self.caller_of(request.extensions(), request.headers());
        let forwarded = self.forwarded(caller)?;
        let via = Via::of(request.extensions()).clone();
        Ok(Door { peer: caller.peer, _via: via, _forwarded: forwarded })
    }

    fn caller_of(&self, extensions: &Extensions, headers: &HeaderMap) -> Caller {
        let remote = Via::of(extensions).remote;
        Caller { peer: self.proxies.client(remote, headers), through_proxy: self.proxies.trusts(remote) }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(app.admission.caller_of(&parts.extensions, &parts.headers))
    }
}
