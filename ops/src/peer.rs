//! Whose network address a request comes from, through proxies that are trusted and no others.
//!
//! Invariant: an address that a client writes into a header itself is never believed, and a proxy's own address is
//! nobody's: no limit is kept under a key that strangers would share.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// Hops that are looked at; a longer chain is somebody's joke.
const HOPS_MAX: usize = 32;

/// Networks of proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<(IpAddr, u8)>);

/// A network that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no network such as 10.0.0.0/8")]
pub struct BadNetwork(String);

/// The client's address, as limits count it: of IPv6 the /64 that one site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl Proxies {
    pub fn parse(networks: &[String]) -> Result<Self, BadNetwork> {
        let parsed = networks.iter().map(|text| network(text).ok_or_else(|| BadNetwork(text.clone())));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, bits)| within(*network, *bits, address))
    }

    /// The nearest address that is no trusted proxy's. `X-Forwarded-For` counts before `Forwarded`. None: the proxies
    /// name nobody.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Peer> {
        let x_forwarded_for = headers.contains_key(X_FORWARDED_FOR);
        let (name, hop): (_, fn(&str) -> Option<IpAddr>) =
            if x_forwarded_for { (X_FORWARDED_FOR, address) } else { (FORWARDED, forwarded_for) };
        let mut client = peer.to_canonical();
        let named = headers.get_all(name).iter().rev();
        let hops = named.filter_map(|value| value.to_str().ok()).flat_map(|text| text.rsplit(','));
        for text in hops.take(HOPS_MAX) {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = hop(text) else { break };
            client = address.to_canonical();
        }
        (!self.trusts(client)).then(|| Peer::new(client))
    }
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// The `for` of one element of RFC 7239: `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    address(value.trim_matches('"'))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, header: (&'static str, &str)) -> String {
        let proxies = Proxies::parse(&["10.0.0.0/8".into(), "fd00::/8".into()]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().unwrap());
        let client = proxies.client(peer.parse().unwrap(), &headers);
        client.map_or_else(|| "nobody".to_owned(), |peer| peer.0.to_string())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, named, expected) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "198.51.100.7:4711", "198.51.100.7"),
            ("10.1.1.1", "6.6.6.6, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
            ("::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "10.2.2.2", "nobody"),
            ("10.1.1.1", "nonsense", "nobody"),
            ("10.1.1.1", "", "nobody"),
            ("fd00:0:0:1::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(client(peer, ("x-forwarded-for", named)), expected, "{peer} {named}");
        }
        for (named, expected) in [
            ("for=198.51.100.7;proto=https", "198.51.100.7"),
            ("for=6.6.6.6, For=\"[2001:db8:1:2::9]:4711\"", "2001:db8:1:2::"),
            ("for=_hidden", "nobody"),
            ("proto=https", "nobody"),
        ] {
            assert_eq!(client("10.1.1.1", ("forwarded", named)), expected, "{named}");
        }
        assert_eq!(client("192.0.2.1", ("forwarded", "for=1.1.1.1")), "192.0.2.1");
    }

    #[test]
    fn networks_are_read_or_refused() {
        for bad in ["10.0.0.0/33", "x", "10.0.0.0/", ""] {
            assert!(Proxies::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Proxies::parse(&["0.0.0.0/0".into()]).unwrap().trusts("1.2.3.4".parse().unwrap()));
        assert!(!Proxies::default().trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn neighbours_in_one_slash_64_are_one_peer() {
        let peer = |text: &str| Peer::new(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
