//! Free ports on the loopback address.
//!
//! They are drawn at random from below the range that the kernel gives to outgoing connections (from 32768 on Linux, 49152
//! on macOS): one from inside it can be taken, before it is used, by any client on a busy machine, and again each time the
//! process that listens there is restarted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 10_000..32_000;
/// Draws for one port before the range counts as full.
const DRAWS_MAX: usize = 200;

/// A port that nobody listened on a moment ago.
pub fn free() -> io::Result<u16> {
    Ok(hold()?.local_addr()?.port())
}

/// Several different free ports.
pub fn free_many(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<_> = (0..count).map(|_| hold()).collect::<io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn hold() -> io::Result<TcpListener> {
    let mut draws = (0..DRAWS_MAX).map(|_| rand::random_range(RANGE));
    draws
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("no free port in {RANGE:?}")))
}

/// Whether nobody listens on `port`.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// `port` on the loopback address.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
