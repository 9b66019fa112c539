//! A TCP proxy that does to a connection what networks do.
//!
//! It works on bytes and knows no protocol. What passes is never reordered or altered: a fault delays bytes, holds them
//! back, or ends the connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

const CHUNK_BYTES: usize = 4096;
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;
/// Chunks in flight in one direction of one connection; beyond them the sender is held up.
const CHUNKS_MAX: usize = 64;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server behind the proxy.
    ToServer,
    ToClient,
}

/// What is wrong with the network from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Each connection ends when this many more bytes have passed that way; those bytes still arrive.
    CutAfter {
        direction: Direction,
        bytes: u64,
    },
    /// Nothing passes in either direction; connections stay open and new ones hang. What was sent arrives when healed.
    BlackHole,
    /// Every chunk arrives this much later, in order.
    Delay {
        least: Duration,
        jitter: Duration,
    },
    Throttle {
        bytes_per_second: u64,
    },
    /// New connections are reset; those there are go on.
    Refuse,
}

#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    fault: Option<Fault>,
    /// Grows with each change, so that a connection counts bytes anew.
    revision: u64,
    /// Connections older than the last cut are reset.
    cuts: u64,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    plan: watch::Sender<Plan>,
    seed: u64,
    accepted: AtomicU64,
    passed: [AtomicU64; 2],
}

/// A proxy that listens on a port of its own until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl FaultProxy {
    /// Starts a faultless proxy in front of `target`; `seed` decides the jitter of delays.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            plan: watch::Sender::new(Plan::default()),
            seed,
            accepted: AtomicU64::new(0),
            passed: Default::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            Arc::clone(&shared),
            stop.clone(),
        )));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a fault in the place of the one there was.
    pub fn inject(&self, fault: Fault) {
        self.set(Some(fault));
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.set(None);
    }

    /// Resets all connections there are now.
    pub fn cut_all(&self) {
        self.shared.plan.send_modify(|plan| plan.cuts += 1);
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many bytes have passed that way so far.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::Relaxed)
    }

    fn set(&self, fault: Option<Fault>) {
        self.shared.plan.send_modify(|plan| {
            plan.fault = fault;
            plan.revision += 1;
        });
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        let carried = carry(client, Arc::clone(&shared), number);
        tokio::spawn(stop.clone().run_until_cancelled_owned(carried));
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>, number: u64) {
    let mut plan = shared.plan.subscribe();
    let cuts = plan.borrow_and_update().cuts;
    if plan.borrow().fault == Some(Fault::Refuse) {
        return reset(&client);
    }
    let hold = plan.wait_for(|plan| plan.fault != Some(Fault::BlackHole));
    if hold.await.is_err() {
        return;
    }
    let Ok(mut server) = connect(shared.target).await else {
        return reset(&client);
    };
    for stream in [&client, &server] {
        // Best effort: without it small writes may wait for each other, which harms no test.
        let _ = stream.set_nodelay(true);
    }
    let was_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(&shared, Direction::ToServer, number);
        let down = Pump::new(&shared, Direction::ToClient, number);
        tokio::select! {
            _ = async { tokio::try_join!(up.run(from_client, to_server), down.run(from_server, to_client)) } => false,
            _ = plan.wait_for(|plan| plan.cuts != cuts) => true,
        }
    };
    if was_reset {
        reset(&client);
        reset(&server);
    }
}

/// With little room of the kernel's, so that what is held back is held at the sender.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.connect(target).await
}

/// Closing then sends a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The connection has been ended by a fault, or by one of its ends.
struct Ended;

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self
    }
}

struct Chunk {
    arrived: Instant,
    bytes: Vec<u8>,
}

struct Pump<'a> {
    shared: &'a Shared,
    direction: Direction,
    plan: watch::Receiver<Plan>,
    random: StdRng,
    revision: u64,
    since_revision: u64,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, direction: Direction, number: u64) -> Self {
        let random = StdRng::seed_from_u64(shared.seed ^ (number << 1) ^ direction as u64);
        let plan = shared.plan.subscribe();
        let revision = plan.borrow().revision;
        Self { shared, direction, plan, random, revision, since_revision: 0 }
    }

    async fn run(mut self, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Ended> {
        let (chunks, mut arriving) = mpsc::channel(CHUNKS_MAX);
        let deliver = async {
            while let Some(chunk) = arriving.recv().await {
                self.deliver(&chunk, &mut to).await?;
            }
            Ok(to.shutdown().await?)
        };
        tokio::try_join!(read(from, chunks), deliver).map(|_| ())
    }

    async fn deliver(&mut self, chunk: &Chunk, to: &mut WriteHalf<'_>) -> Result<(), Ended> {
        let mut rest = chunk.bytes.as_slice();
        while !rest.is_empty() {
            let plan = *self.plan.borrow_and_update();
            if plan.revision != self.revision {
                (self.revision, self.since_revision) = (plan.revision, 0);
            }
            let mut count = rest.len();
            match plan.fault {
                Some(Fault::BlackHole) => {
                    self.plan.changed().await.map_err(|_| Ended)?;
                    continue;
                }
                Some(Fault::Delay { least, jitter }) => {
                    let jitter = jitter.mul_f64(self.random.random_range(0.0..=1.0));
                    tokio::select! {
                        () = sleep_until(chunk.arrived + least + jitter) => {}
                        _ = self.plan.changed() => continue,
                    }
                }
                Some(Fault::Throttle { bytes_per_second }) => {
                    let slice = usize::try_from(bytes_per_second / 20).unwrap_or(CHUNK_BYTES).max(1);
                    count = count.min(slice);
                    let takes = Duration::from_secs_f64(count as f64 / bytes_per_second.max(1) as f64);
                    tokio::select! {
                        () = sleep(takes) => {}
                        _ = self.plan.changed() => continue,
                    }
                }
                Some(Fault::CutAfter { direction, bytes }) if direction == self.direction => {
                    let left =
                        usize::try_from(bytes.saturating_sub(self.since_revision)).unwrap_or(usize::MAX);
                    if left <= count {
                        self.write(&rest[..left], to).await?;
                        to.shutdown().await?;
                        return Err(Ended);
                    }
                }
                Some(Fault::CutAfter { .. } | Fault::Refuse) | None => {}
            }
            self.write(&rest[..count], to).await?;
            rest = &rest[count..];
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> Result<(), Ended> {
        to.write_all(bytes).await?;
        self.since_revision += bytes.len() as u64;
        self.shared.passed[self.direction as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

async fn read(mut from: ReadHalf<'_>, chunks: mpsc::Sender<Chunk>) -> Result<(), Ended> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let chunk = Chunk { arrived: Instant::now(), bytes: buffer[..count].to_vec() };
        chunks.send(chunk).await.map_err(|_| Ended)?;
    }
}
