//! From an edge's address to an open WebSocket, and reading from it.
//!
//! Invariant: a message is never larger than [`MESSAGE_MAX`], however many fragments carry it.

use std::{io::Cursor, sync::Arc, time::Duration};

use bytes::Bytes;
use fastwebsockets::{OpCode, Role, WebSocketError, WebSocketRead};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, Chain},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// Largest message taken from a server: a `login` answer with a hundred snapshots fits.
const MESSAGE_MAX: usize = 32 * 1024 * 1024;
const PROBLEM_MAX: usize = 64 * 1024;
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0} is not an http:// or ws:// address")]
    Address(String),
    #[error("cannot connect to {edge}: {source}")]
    Io { edge: String, source: std::io::Error },
    #[error("no answer within {} s", CONNECT_WITHIN.as_secs())]
    Timeout,
    #[error("handshake: {0}")]
    Handshake(String),
    /// The server would not upgrade.
    #[error("the upgrade was refused with {status}: {detail}")]
    Refused { status: u16, detail: String, after: Option<Duration> },
}

impl ConnectError {
    /// The same attempt will fail again.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Refused { status, .. } => *status >= 400 && !super::http::may_pass(*status),
            Self::Io { .. } | Self::Timeout | Self::Handshake(_) => false,
        }
    }
}

/// What came.
pub enum Message {
    Text(Bytes),
    Ping(Bytes),
    Close {
        code: u16,
        reason: String,
    },
    /// Nothing that a client answers.
    Other,
}

/// The reading half. Reading is not cancel-safe: a started read must be driven to its end.
pub struct Reader {
    frames: WebSocketRead<Chain<Cursor<Bytes>, OwnedReadHalf>>,
    partial: Vec<u8>,
}

pub struct Socket {
    pub reader: Reader,
    pub writer: Arc<OwnedWriteHalf>,
}

/// Opens `{edge}/v1/ws`.
pub async fn connect(edge: &str, origin: Option<&str>) -> Result<Socket, ConnectError> {
    let authority = authority(edge)?;
    timeout(CONNECT_WITHIN, upgrade(authority, origin)).await.map_err(|_| ConnectError::Timeout)?
}

fn authority(edge: &str) -> Result<&str, ConnectError> {
    let rest = edge.strip_prefix("http://").or_else(|| edge.strip_prefix("ws://"));
    let authority = rest.and_then(|rest| rest.split('/').next()).filter(|authority| !authority.is_empty());
    authority.ok_or_else(|| ConnectError::Address(edge.to_owned()))
}

async fn upgrade(authority: &str, origin: Option<&str>) -> Result<Socket, ConnectError> {
    let io = |source| ConnectError::Io { edge: authority.to_owned(), source };
    let stream = TcpStream::connect(authority).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let failed = |error: &dyn std::fmt::Display| ConnectError::Handshake(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let driving = tokio::spawn(connection.with_upgrades());
    let mut request = Request::get("/v1/ws")
        .header(header::HOST, authority)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
        .header(header::SEC_WEBSOCKET_VERSION, "13");
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let mut response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let refused = refused(response).await;
        driving.abort();
        return Err(refused);
    }
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| failed(&error))?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| ConnectError::Handshake("the connection is not the one it was opened on".into()))?;
    let (read, write) = parts.io.into_inner().into_split();
    // The server speaks first: what it said may have come with the end of the handshake.
    let stream = Cursor::new(parts.read_buf).chain(read);
    let (mut frames, _) = fastwebsockets::after_handshake_split(stream, tokio::io::sink(), Role::Client);
    frames.set_auto_close(false);
    frames.set_auto_pong(false);
    frames.set_max_message_size(MESSAGE_MAX);
    Ok(Socket { reader: Reader { frames, partial: Vec::new() }, writer: Arc::new(write) })
}

async fn refused(response: Response<Incoming>) -> ConnectError {
    let status = response.status().as_u16();
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let body = Limited::new(response.into_body(), PROBLEM_MAX).collect().await;
    let detail = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    ConnectError::Refused { status, detail, after }
}

impl Reader {
    /// The next message. Must not be dropped half-way.
    pub async fn next(&mut self) -> Result<Message, WebSocketError> {
        loop {
            let frame =
                self.frames.read_frame::<_, WebSocketError>(&mut |_| std::future::ready(Ok(()))).await?;
            let payload = match frame.payload {
                fastwebsockets::Payload::Bytes(bytes) => bytes.freeze(),
                other => Bytes::copy_from_slice(&other),
            };
            return Ok(match frame.opcode {
                OpCode::Text | OpCode::Continuation if frame.fin && self.partial.is_empty() => {
                    Message::Text(payload)
                }
                OpCode::Text | OpCode::Continuation => {
                    if self.partial.len() + payload.len() > MESSAGE_MAX {
                        return Err(WebSocketError::FrameTooLarge);
                    }
                    self.partial.extend_from_slice(&payload);
                    if !frame.fin {
                        continue;
                    }
                    Message::Text(std::mem::take(&mut self.partial).into())
                }
                OpCode::Ping => Message::Ping(payload),
                OpCode::Close => close(&payload),
                OpCode::Binary | OpCode::Pong => Message::Other,
            });
        }
    }
}

fn close(payload: &[u8]) -> Message {
    // RFC 6455: 1005 stands for a close frame without a code.
    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
    Message::Close { code, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        assert_eq!(authority("http://127.0.0.1:7700/").unwrap(), "127.0.0.1:7700");
        assert_eq!(authority("ws://edge:1/v1/ws").unwrap(), "edge:1");
        assert!(authority("https://edge").is_err() && authority("http://").is_err());
    }
}
