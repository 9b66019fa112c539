//! Making the connection: `INFO`, `CONNECT`, and the first `PONG`.
//!
//! Invariant: a connection comes out only when the server has taken the credentials; no error says what they are.

use std::time::Duration;

use async_nats::ServerAddr;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use super::{
    parse::{self, Op},
    server::{self, Io},
};
use crate::nats::{Identity, Options, pause_before};

const WITHIN: Duration = Duration::from_secs(5);
/// Servers of a cluster that are kept in mind.
const SERVERS_MAX: usize = 32;
/// What a server says before it lets us in.
const HELLO_MAX: usize = 256 * 1024;

/// A connection that stands.
pub struct Made {
    pub io: Box<dyn Io>,
    /// What was read beyond the greeting.
    pub early: Vec<u8>,
    pub max_payload: usize,
    pub known: Vec<ServerAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    #[error("cannot reach the server")]
    Io(#[from] std::io::Error),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("the server does not speak the NATS protocol")]
    Garbled,
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the credentials cannot be used: {0}")]
    Credentials(String),
    #[error("CHATBUS_NATS_URL names no server")]
    NoServer,
}

#[derive(Deserialize)]
struct Info {
    nonce: Option<String>,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    max_payload: usize,
    #[serde(default)]
    connect_urls: Vec<String>,
}

#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    lang: &'a str,
    version: &'a str,
    name: &'a str,
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    tls_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(flatten)]
    identity: Option<Identity>,
}

/// Servers that the settings name.
pub fn servers(url: &str) -> Vec<ServerAddr> {
    url.split(',').filter_map(|url| url.trim().parse().ok()).collect()
}

/// Tries one server after the other until one lets us in, with pauses that grow.
pub async fn make(options: Options, known: Vec<ServerAddr>, mut tries: usize) -> Made {
    loop {
        sleep(pause_before(tries)).await;
        let result = match known.get(tries % known.len().max(1)) {
            Some(server) => {
                timeout(WITHIN, greet(&options, server)).await.unwrap_or(Err(HelloError::TimedOut))
            }
            None => Err(HelloError::NoServer),
        };
        match result {
            Ok((made, more)) => {
                let mut known = known;
                for server in more.iter().filter_map(|url| format!("nats://{url}").parse::<ServerAddr>().ok())
                {
                    let same =
                        |other: &ServerAddr| (other.host(), other.port()) == (server.host(), server.port());
                    if known.len() < SERVERS_MAX && !known.iter().any(same) {
                        known.push(server);
                    }
                }
                return Made { known, ..made };
            }
            Err(error) if tries.is_power_of_two() => {
                tracing::warn!(%error, tries, "no live connection to the bus, trying again");
            }
            Err(_) => {}
        }
        tries += 1;
    }
}

async fn greet(options: &Options, server: &ServerAddr) -> Result<(Made, Vec<String>), HelloError> {
    let mut plain = server::reach(server).await?;
    let mut buffer = Vec::new();
    let info = match expect(&mut plain, &mut buffer).await? {
        Said::Info(info) => info,
        Said::Pong => return Err(HelloError::Garbled),
    };
    let encrypted = info.tls_required || server.tls_required();
    let mut io: Box<dyn Io> = if encrypted { server::encrypt(server, plain).await? } else { Box::new(plain) };
    let identity = match &options.credentials {
        None => None,
        Some(path) => {
            let nonce = info.nonce.as_deref().unwrap_or("");
            Some(Identity::sign(path, nonce.as_bytes()).map_err(HelloError::Credentials)?)
        }
    };
    let connect = Connect {
        verbose: false,
        pedantic: false,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        name: &format!("chatbus-{}-wire", options.name),
        protocol: 1,
        echo: true,
        headers: true,
        no_responders: true,
        tls_required: encrypted,
        user: server.username(),
        pass: server.password(),
        identity,
    };
    let connect = serde_json::to_string(&connect).map_err(|_| HelloError::Garbled)?;
    io.write_all(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
    io.flush().await?;
    let mut connect_urls = info.connect_urls;
    let mut max_payload = info.max_payload;
    loop {
        match expect(&mut io, &mut buffer).await? {
            Said::Pong => break,
            Said::Info(info) => (connect_urls, max_payload) = (info.connect_urls, info.max_payload),
        }
    }
    Ok((Made { io, early: buffer, max_payload, known: Vec::new() }, connect_urls))
}

enum Said {
    Info(Info),
    Pong,
}

/// The next thing that matters.
async fn expect(io: &mut (impl Io + ?Sized), buffer: &mut Vec<u8>) -> Result<Said, HelloError> {
    loop {
        while let Some((op, end)) = parse::next(buffer).map_err(|_| HelloError::Garbled)? {
            let said = match op {
                Op::Info(range) => {
                    let info = serde_json::from_slice(&buffer[range]).map_err(|_| HelloError::Garbled)?;
                    Some(Said::Info(info))
                }
                Op::Error(range) => {
                    let text = String::from_utf8_lossy(&buffer[range]).trim().to_owned();
                    return Err(HelloError::Refused(text));
                }
                Op::Pong => Some(Said::Pong),
                Op::Ok | Op::Ping | Op::Message { .. } => None,
            };
            buffer.drain(..end);
            if let Some(said) = said {
                return Ok(said);
            }
        }
        if buffer.len() > HELLO_MAX {
            return Err(HelloError::Garbled);
        }
        if io.read_buf(buffer).await? == 0 {
            return Err(HelloError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
