//! Whose network address a request comes from, through proxies that are trusted and no others.
//!
//! Invariant: an address that a client writes into `X-Forwarded-For` itself is never believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::{HeaderMap, request::Parts};

use super::Problem;

/// Networks of proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<(IpAddr, u8)>);

/// A network that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no network such as 10.0.0.0/8")]
pub struct BadNetwork(String);

impl Proxies {
    pub fn parse(networks: &[String]) -> Result<Self, BadNetwork> {
        let parsed = networks.iter().map(|text| network(text).ok_or_else(|| BadNetwork(text.clone())));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, bits)| within(*network, *bits, address))
    }

    /// The nearest address that is no trusted proxy's.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let named = headers.get_all("x-forwarded-for").iter().rev();
        let hops = named.filter_map(|value| value.to_str().ok()).flat_map(|text| text.rsplit(','));
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((address, bits))
}

fn within(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let differ = |a: u128, b: u128, width: u32| {
        let unused = width - u32::from(bits).min(width);
        a.checked_shr(unused).unwrap_or(0) != b.checked_shr(unused).unwrap_or(0)
    };
    match (network, address.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differ(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.into(), b.into(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The client's address, as rate limits count it: of IPv6 the /64 that one site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    fn new(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        })
    }
}

impl<S> FromRequestParts<S> for Peer
where
    S: Send + Sync,
    Proxies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = info.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |info| info.0.ip());
        Ok(Self::new(Proxies::from_ref(state).client(peer, &parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = Proxies::parse(&["10.0.0.0/8".into(), "fd00::/8".into()]).unwrap();
        let client = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            proxies.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(client("10.1.1.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(client("10.1.1.1", "6.6.6.6, 198.51.100.7, 10.2.2.2"), "198.51.100.7");
        assert_eq!(client("::ffff:10.1.1.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(client("fd00::1", "nonsense"), "fd00::1");
        for bad in ["10.0.0.0/33", "x", "10.0.0.0/", ""] {
            assert!(Proxies::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Proxies::parse(&["0.0.0.0/0".into()]).unwrap().trusts("1.2.3.4".parse().unwrap()));
    }
}
