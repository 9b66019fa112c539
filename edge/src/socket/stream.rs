//! The two halves of an upgraded connection.
//!
//! hyper gives a boxed stream; behind plain TCP the socket itself is taken back, which splits without a lock and
//! needs no buffer of hyper's.

use bytes::Bytes;
use fastwebsockets::{WebSocketError, upgrade::UpgradeFut};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

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
            let (read, write) = parts.io.into_inner().into_split();
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
