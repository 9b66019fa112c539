//! What a client is told at its start, and what it says about itself.

use std::{fmt, sync::Arc, time::Duration};

use bus_schema::{ConversationId, ErrorBody, EventId, protocol::Closing, state::RoutingStatus};
use serde_json::value::RawValue;

use super::{backoff, outbox::OutboxLimits, tokens::Tokens, wire::EventHead};

/// Events kept of each conversation unless said otherwise.
const KEEP_EVENTS: usize = 10_000;
const PUSHES: usize = 1_024;

/// How a client connects, and what it keeps.
#[derive(Clone)]
pub struct Options {
    /// `http://host:port` of each edge, tried in turn.
    pub edges: Vec<String>,
    /// Where to begin in `edges`, so that clients spread.
    pub first_edge: usize,
    pub tokens: Tokens,
    /// Sent as a browser would; none: not a browser.
    pub origin: Option<String>,
    /// Agents: the status to set at login.
    pub status: Option<RoutingStatus>,
    /// Events kept of each conversation; 0: none, only the position.
    pub keep_events: usize,
    pub outbox: OutboxLimits,
    pub request_timeout: Duration,
    /// The first reconnect comes within this time.
    pub backoff: Duration,
    /// Room of the push stream; what finds no room is counted and left out. 0: no stream.
    pub pushes: usize,
    pub observer: Option<Arc<dyn Observer>>,
}

impl Options {
    pub fn new(edges: Vec<String>, tokens: Tokens) -> Self {
        Self {
            edges,
            first_edge: 0,
            tokens,
            origin: None,
            status: None,
            keep_events: KEEP_EVENTS,
            outbox: OutboxLimits::default(),
            request_timeout: Duration::from_secs(10),
            backoff: backoff::BASE,
            pushes: PUSHES,
            observer: None,
        }
    }
}

/// Told of each event and send at once, on the reading task and under the client's lock: must be quick, and must not
/// call the client.
pub trait Observer: Send + Sync {
    /// An event was pushed or came in a snapshot; it may come again after a reset.
    fn event(&self, conversation: ConversationId, event: &EventHead<'_>);
    /// A send is done: its answer or its own push came.
    fn sent(&self, _conversation: ConversationId, _client_id: &str, _sent: Sent) {}
    /// A send was refused for a while; it goes out again.
    fn delayed(&self, _conversation: ConversationId, _error: &ErrorBody) {}
    /// A send was refused for good or given up.
    fn failed(&self, _conversation: ConversationId, _client_id: &str, _error: &ErrorBody) {}
    /// The server says that it will close the connection.
    fn closing(&self, _closing: &Closing) {}
}

/// Where a send is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub event_id: EventId,
    pub seq: u64,
    /// Its own push came before its answer.
    pub by_push: bool,
}

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    /// Logged in.
    Live,
    Stopped(Stopped),
}

/// The connection as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// Logins so far.
    pub logins: u64,
    /// The edge's own name.
    pub edge_id: Option<String>,
    /// Conversations that were resumed and have not caught up yet.
    pub behind: usize,
}

impl State {
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Live && self.behind == 0
    }
}

/// Why a client does not reconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    Asked,
    /// The server closed with a code whose range says so.
    Closed {
        code: u16,
        reason: String,
    },
    /// The upgrade or the login was refused for good, or no token was to be had.
    Refused(String),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Asked => f.write_str("closed by this side"),
            Stopped::Closed { code, reason } => write!(f, "closed by the server: {code} {reason}"),
            Stopped::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// Why a request has no good answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] ErrorBody),
    #[error("not connected")]
    NotConnected,
    /// The connection went away, or the answer did not come: it may have happened.
    #[error("no answer: it may have happened")]
    Unknown,
    #[error("too much is waiting to be written")]
    Busy,
    #[error("the answer does not read as expected: {0}")]
    Answer(String),
    #[error("{0}")]
    Stopped(Stopped),
}

impl From<Stopped> for RequestError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl RequestError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<bus_schema::ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            Self::NotConnected | Self::Unknown | Self::Busy | Self::Answer(_) | Self::Stopped(_) => None,
        }
    }
}

/// Something the server said unasked.
#[derive(Debug, Clone)]
pub struct Push {
    pub action: String,
    pub payload: Box<RawValue>,
}

impl Push {
    pub fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload.get())
    }
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub connects_failed: u64,
    pub disconnects: u64,
    pub frames: u64,
    pub events: u64,
    pub late: u64,
    /// Pushes out of order that were not called late: a fault of the server.
    pub disordered: u64,
    pub repeated: u64,
    pub resets: u64,
    /// Conversations that a login gave as a whole though it was to resume them, with no `reset`: a fault of the server.
    pub replaced: u64,
    /// Frames that no server of this protocol sends.
    pub bad_frames: u64,
    pub pushes_missed: u64,
    /// Sends that went out again.
    pub retries: u64,
}
