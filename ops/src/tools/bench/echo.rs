//! The limit that sockets set: a bare fastwebsockets server in a process of its own, echoing.
//!
//! No login, no log, no limits: what it costs is what any server on this stack must cost.

use std::{
    future::ready,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Role, WebSocket, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use super::{
    procs::{Procs, used},
    spread::{Quantiles, Spread},
};
use crate::{
    client::{link::Link, socket},
    dev::guard::{Guarded, Spec},
};

const READY_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const MESSAGE_MAX: usize = 64 * 1024;
const NAME: &str = "echo";
/// Connections that are opened at once.
const OPENING: usize = 64;

#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Where to write the address
    announce: PathBuf,
}

/// The server process.
pub async fn serve(args: &ServerArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let part = args.announce.with_extension("part");
    std::fs::write(&part, listener.local_addr()?.to_string())?;
    std::fs::rename(part, &args.announce)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        tokio::spawn(connection.with_upgrades());
    }
}

fn accept(
    mut request: Request<Incoming>,
) -> std::future::Ready<Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError>> {
    let upgraded = upgrade::upgrade(&mut request).map(|(response, socket)| {
        tokio::spawn(async move {
            // A client that goes away ends its echo, and nobody needs to know.
            let _ = echo(socket).await;
        });
        response
    });
    ready(upgraded)
}

async fn echo(socket: upgrade::UpgradeFut) -> anyhow::Result<()> {
    let upgraded = socket.await?.into_inner().into_inner();
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| anyhow::anyhow!("another kind of connection"))?;
    ensure!(parts.read_buf.is_empty(), "the client spoke before the handshake was over");
    let mut socket = WebSocket::after_handshake(parts.io.into_inner(), Role::Server);
    socket.set_max_message_size(MESSAGE_MAX);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text => socket.write_frame(Frame::text(frame.payload)).await?,
            OpCode::Close => return Ok(()),
            OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

/// A running echo server.
pub struct EchoServer {
    pub procs: Procs,
    url: String,
    _process: Guarded,
    _dir: tempfile::TempDir,
}

impl EchoServer {
    pub async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let announce = dir.path().join("address");
        let spec = Spec::new(std::env::current_exe()?).args(["bench", "echo-server"]).arg(announce.clone());
        let process = Guarded::spawn(&spec, &dir.path().join("log"))?;
        let url = format!("http://{}", wait_for(&announce).await?);
        Ok(Self {
            procs: Procs::new(vec![(NAME.to_owned(), process.pid())]),
            url,
            _process: process,
            _dir: dir,
        })
    }

    /// Opens connections that stay idle after `messages` echoes each.
    pub async fn crowd(
        &self,
        connections: usize,
        messages: u32,
        payload: &[u8],
    ) -> anyhow::Result<Vec<EchoClient>> {
        use futures::{StreamExt as _, TryStreamExt as _};
        futures::stream::iter(0..connections)
            .map(|_| async {
                let mut client = EchoClient::connect(&self.url).await?;
                for _ in 0..messages {
                    client.exchange(payload).await?;
                }
                anyhow::Ok(client)
            })
            .buffer_unordered(OPENING)
            .try_collect()
            .await
    }

    /// Each connection sends its next message when the last one came back.
    pub async fn measure(&self, connections: usize, bytes: usize, each: Duration) -> anyhow::Result<Echo> {
        let payload: Arc<[u8]> = vec![b'x'; bytes].into();
        let mut one = self.crowd(1, 0, &payload).await?;
        let mut single = Spread::new();
        let start = Instant::now();
        while start.elapsed() < each {
            single.record_ns(one[0].exchange(&payload).await?);
        }
        let crowd = self.crowd(connections, 1, &payload).await?;
        let (before, start) = (self.procs.cpu(), Instant::now());
        let tasks: Vec<_> = crowd
            .into_iter()
            .map(|mut client| {
                let payload = payload.clone();
                tokio::spawn(async move {
                    let mut spread = Spread::new();
                    while start.elapsed() < each {
                        spread.record_ns(client.exchange(&payload).await?);
                    }
                    anyhow::Ok(spread)
                })
            })
            .collect();
        let mut loaded = Spread::new();
        for task in tasks {
            loaded.add(&task.await??);
        }
        let (took, cpu) = (start.elapsed(), used(&before, &self.procs.cpu()));
        let loaded = loaded.quantiles();
        Ok(Echo {
            connections,
            bytes,
            single: single.quantiles(),
            rate: loaded.count as f64 / took.as_secs_f64(),
            loaded,
            cpu_us_per_message: cpu.get(NAME).copied().unwrap_or(0) as f64 / loaded.count.max(1) as f64,
        })
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Echo {
    pub connections: usize,
    pub bytes: usize,
    /// One connection alone.
    pub single: Quantiles,
    /// All of them.
    pub rate: f64,
    pub loaded: Quantiles,
    /// Of the server.
    pub cpu_us_per_message: f64,
}

pub struct EchoClient {
    reader: socket::Reader,
    link: Link,
}

impl EchoClient {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let socket = socket::connect(url, None).await?;
        Ok(Self { reader: socket.reader, link: Link::new(socket.writer) })
    }

    /// Nanoseconds until the message was back.
    async fn exchange(&mut self, payload: &[u8]) -> anyhow::Result<u64> {
        let began = Instant::now();
        self.link.frame(OpCode::Text, payload);
        self.link.flush()?;
        self.reader.next().await?;
        Ok(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

async fn wait_for(announce: &Path) -> anyhow::Result<String> {
    let wait = async {
        loop {
            if let Ok(address) = std::fs::read_to_string(announce) {
                return address;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, wait).await.context("the echo server did not start")
}
