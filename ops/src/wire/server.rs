//! Reaching a server of the bus: over TCP, and TLS where the URL or the server asks for it.

use std::{io, sync::Arc};

use async_nats::ServerAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

/// A stream of bytes to a server.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub async fn reach(server: &ServerAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((server.host(), server.port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS by the machine's root certificates, as the other connection to the bus has it.
pub async fn encrypt(server: &ServerAddr, stream: TcpStream) -> io::Result<Box<dyn Io>> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
    if let Some(error) = found.errors.into_iter().next() {
        return Err(io::Error::other(error));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(server.host().to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Box::new(stream))
}
