//! A proxy before a nats-server that loses, doubles, delays and reorders live copies.
//!
//! It reads the server's side of the protocol and touches nothing but what was republished under `live.`: answers,
//! signals and what clients say pass as they are. What a lossy subscription does to an edge is so done at a known rate.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The longest that a copy is delayed.
pub const DELAY_MAX: Duration = Duration::from_secs(5);
/// So long a copy is held back that others are to overtake.
const OVERTAKEN_MAX: Duration = Duration::from_millis(60);
/// Copies held back on one connection; beyond them they pass at once.
const HELD_MAX: usize = 100_000;
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is done to a live copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Dropped,
    Doubled,
    Delayed,
    Overtaken,
}

/// Counts of what was done.
#[derive(Debug, Default)]
pub struct Tampered {
    pub live: AtomicU64,
    pub dropped: AtomicU64,
    pub doubled: AtomicU64,
    pub delayed: AtomicU64,
    pub overtaken: AtomicU64,
    /// Sequences of what did not come when it should have.
    missed: Mutex<BTreeSet<u64>>,
}

impl Tampered {
    /// Whether a copy of this message was lost, delayed or overtaken.
    pub fn has_missed(&self, seq: u64) -> bool {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).contains(&seq)
    }

    fn miss(&self, message: &[u8]) {
        if let Some(seq) = sequence(message) {
            self.missed.lock().unwrap_or_else(PoisonError::into_inner).insert(seq);
        }
    }
}

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} live copies: {} dropped, {} doubled, {} delayed, {} overtaken",
            of(&self.live),
            of(&self.dropped),
            of(&self.doubled),
            of(&self.delayed),
            of(&self.overtaken)
        )
    }
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// Of each kind of fate, as bits.
    share: AtomicU64,
    seed: u64,
    done: Tampered,
}

/// A shim that listens on a port of its own until it is dropped.
#[derive(Debug)]
pub struct LiveShim {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl LiveShim {
    /// Before `target`; each of the four things happens to `share` of the live copies, drawn from `seed`.
    pub async fn start(target: SocketAddr, share: f64, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            share: AtomicU64::new(share.to_bits()),
            seed,
            done: Tampered::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared.clone(), stop.clone())));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on each of the four things happens to this share.
    pub fn set_share(&self, share: f64) {
        self.shared.share.store(share.to_bits(), Ordering::Relaxed);
    }

    pub fn tampered(&self) -> &Tampered {
        &self.shared.done
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    for number in 0_u64.. {
        let Ok((client, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        let carried = async move {
            // Either end going away ends both; the client connects again.
            let _ = carry(client, &shared, number).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(carried));
    }
}

async fn carry(client: TcpStream, shared: &Shared, number: u64) -> io::Result<()> {
    let server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let down = Down::new(shared, to_client, StdRng::seed_from_u64(shared.seed ^ number));
    tokio::select! {
        ended = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(|_| ()) } => ended,
        ended = down.run(from_server) => ended,
    }
}

/// From the server to the client.
struct Down<'a> {
    shared: &'a Shared,
    to: OwnedWriteHalf,
    random: StdRng,
    /// By when they pass, and the order in which they came.
    held: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
}

impl<'a> Down<'a> {
    fn new(shared: &'a Shared, to: OwnedWriteHalf, random: StdRng) -> Self {
        Self { shared, to, random, held: BinaryHeap::new(), count: 0 }
    }

    async fn run(mut self, from: OwnedReadHalf) -> io::Result<()> {
        // A read that is given up half way would lose bytes, so reading is a task of its own.
        let (sender, mut read) = tokio::sync::mpsc::channel(256);
        let reading = async move {
            let mut from = BufReader::new(from);
            while let Some(message) = message(&mut from).await? {
                if sender.send(message).await.is_err() {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let passing = async {
            loop {
                let due = self.held.peek().map(|Reverse((at, ..))| *at);
                tokio::select! {
                    next = read.recv() => match next {
                        Some(message) => self.pass(message).await?,
                        None => return io::Result::Ok(()),
                    },
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                        let Reverse((.., bytes)) = self.held.pop().expect("one is due");
                        self.to.write_all(&bytes).await?;
                    }
                }
            }
        };
        tokio::try_join!(reading, passing).map(|_| ())
    }

    async fn pass(&mut self, message: Vec<u8>) -> io::Result<()> {
        if !is_live(&message) {
            return self.to.write_all(&message).await;
        }
        let done = &self.shared.done;
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        add(&done.live);
        match self.fate() {
            Fate::Passes => self.to.write_all(&message).await,
            Fate::Dropped => {
                add(&done.dropped);
                done.miss(&message);
                Ok(())
            }
            Fate::Doubled => {
                add(&done.doubled);
                self.to.write_all(&message).await?;
                self.to.write_all(&message).await
            }
            Fate::Delayed => {
                add(&done.delayed);
                done.miss(&message);
                self.hold(message, DELAY_MAX);
                Ok(())
            }
            Fate::Overtaken => {
                add(&done.overtaken);
                done.miss(&message);
                self.hold(message, OVERTAKEN_MAX);
                Ok(())
            }
        }
    }

    fn fate(&mut self) -> Fate {
        let drawn: f64 = self.random.random_range(0.0..1.0);
        let fates = [Fate::Dropped, Fate::Doubled, Fate::Delayed, Fate::Overtaken];
        let index = (drawn / f64::from_bits(self.shared.share.load(Ordering::Relaxed))) as usize;
        match fates.get(index) {
            Some(Fate::Delayed | Fate::Overtaken) if self.held.len() >= HELD_MAX => Fate::Passes,
            Some(fate) => *fate,
            None => Fate::Passes,
        }
    }

    fn hold(&mut self, message: Vec<u8>, most: Duration) {
        let at = Instant::now() + most.mul_f64(self.random.random_range(0.0..=1.0));
        self.count += 1;
        self.held.push(Reverse((at, self.count, message)));
    }
}

/// One protocol message of the server, whole; none at the end.
async fn message(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes).await? == 0 {
        return Ok(None);
    }
    if bytes.starts_with(b"MSG ") || bytes.starts_with(b"HMSG ") {
        let line = String::from_utf8_lossy(&bytes);
        let size = line.split_whitespace().next_back().and_then(|size| size.parse::<usize>().ok());
        let size = size.filter(|size| *size <= MESSAGE_BYTES_MAX).ok_or(io::ErrorKind::InvalidData)?;
        let head = bytes.len();
        bytes.resize(head + size + 2, 0);
        from.read_exact(&mut bytes[head..]).await?;
    }
    Ok(Some(bytes))
}

fn is_live(message: &[u8]) -> bool {
    message.starts_with(b"HMSG live.") || message.starts_with(b"MSG live.")
}

/// The sequence that the server republished it with.
fn sequence(message: &[u8]) -> Option<u64> {
    const NAME: &str = "Nats-Sequence: ";
    let text = String::from_utf8_lossy(message);
    let (_, rest) = text.split_once(NAME)?;
    rest.split("\r\n").next()?.trim().parse().ok()
}
