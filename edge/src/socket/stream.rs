//! The socket under an upgraded connection.
//!
//! hyper gives a boxed stream; the socket itself is taken back, which splits without a lock, tells when it is ready
//! before any room is made for a read, and needs no buffer of hyper's.

use bytes::Bytes;
use fastwebsockets::{WebSocketError, upgrade::UpgradeFut};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// What the kernel may keep for a client that does not read, which else grows to megabytes (Linux doubles it).
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The socket, and what was read with the request already.
pub struct Upgraded {
    pub socket: TcpStream,
    pub early: Bytes,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("the upgrade was not finished")]
    Unfinished(#[from] WebSocketError),
    #[error("the connection is no plain socket")]
    Foreign,
}

pub async fn upgraded(upgrade: UpgradeFut) -> Result<Upgraded, UpgradeError> {
    let upgraded = upgrade.await?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| UpgradeError::Foreign)?;
    let socket = parts.io.into_inner();
    if let Err(error) = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES) {
        tracing::debug!(%error, "the kernel may keep more for a slow client than it should");
    }
    // Copied, because the buffer that it lies in has 8 KiB for each connection.
    let early =
        if parts.read_buf.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&parts.read_buf) };
    Ok(Upgraded { socket, early })
}
