//! The two halves of an upgraded connection.
//!
//! hyper gives a boxed stream; behind plain TCP the socket itself is taken back, which splits without a lock and
//! needs no buffer of hyper's.

use bytes::Bytes;
use fastwebsockets::{WebSocketError, upgrade::UpgradeFut};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What the kernel may keep for a client that does not read, which else grows to megabytes (Linux doubles it).
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// What to read from, what to write to, and what was read with the request already.
pub struct Halves {
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    pub early: Bytes,
}

pub async fn halves(upgrade: UpgradeFut) -> Result<Halves, WebSocketError> {
    let upgraded = upgrade.await?.into_inner().into_inner();
    Ok(match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let socket = parts.io.into_inner();
            if let Err(error) = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES) {
                tracing::debug!(%error, "the kernel may keep more for a slow client than it should");
            }
            let (read, write) = socket.into_split();
            // Dropped when empty: kept alive it costs 8 KiB for each connection.
            let early = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
            Halves { read: Box::new(read), write: Box::new(write), early }
        }
        Err(upgraded) => {
            let (read, write) = tokio::io::split(TokioIo::new(upgraded));
            Halves { read: Box::new(read), write: Box::new(write), early: Bytes::new() }
        }
    })
}
