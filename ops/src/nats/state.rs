//! What the connection says about itself.
//!
//! Invariant: `generation` only grows, and has grown before `connected` is true again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_nats::{Client, Event};
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::watch;

use super::Options;
use crate::metrics::{Metric, counter as counter_of, gauge as gauge_of};

/// A connection, and what it says about itself; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    pub client: Client,
    pub state: watch::Receiver<BusState>,
    /// The prefix of this process's inboxes.
    pub inbox: Arc<str>,
    /// How it was made, for whoever needs a connection of its own.
    pub options: Arc<Options>,
}

/// The connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusState {
    pub connected: bool,
    /// Grows whenever live messages may have been lost: readers that see it grow are unverified.
    pub generation: u64,
    /// How often the connection was made again: what lived on it on the server's side is gone.
    pub reconnects: u64,
    /// How often a subscription's queue was full and messages were dropped.
    pub slow_consumers: u64,
}

impl Bus {
    pub fn is_connected(&self) -> bool {
        self.state.borrow().connected
    }

    pub fn generation(&self) -> u64 {
        self.state.borrow().generation
    }
}

const CONNECTED: &str = "chatbus_nats_connected";
const CONNECTS: &str = "chatbus_nats_connects_total";
const SLOW: &str = "chatbus_nats_slow_consumers_total";
const ERRORS: &str = "chatbus_nats_server_errors_total";

pub(super) const METRICS: &[Metric] = &[
    gauge_of(CONNECTED, "1 while connected to the bus."),
    counter_of(CONNECTS, "Connections to the bus that were made."),
    counter_of(SLOW, "Times a subscription's queue was full and live messages were dropped."),
    counter_of(ERRORS, "Errors that the server reported on the connection, such as refused permissions."),
];

/// Receives the client's events; there is one for each connection attempt.
pub(super) struct Watcher {
    state: watch::Sender<BusState>,
    /// The first `Connected` is the connection being made, not a reconnect.
    seen_first: AtomicBool,
    connected: Gauge,
    connects: Counter,
    slow: Counter,
    errors: Counter,
}

impl Watcher {
    pub(super) fn new() -> (Arc<Self>, watch::Receiver<BusState>) {
        let (state, receiver) =
            watch::channel(BusState { connected: true, generation: 0, reconnects: 0, slow_consumers: 0 });
        let watcher = Self {
            state,
            seen_first: AtomicBool::new(false),
            connected: gauge!(CONNECTED),
            connects: counter!(CONNECTS),
            slow: counter!(SLOW),
            errors: counter!(ERRORS),
        };
        (Arc::new(watcher), receiver)
    }

    pub(super) fn on(&self, event: &Event) {
        match event {
            Event::Connected => {
                let again = self.seen_first.swap(true, Ordering::Relaxed);
                self.connects.increment(1);
                self.connected.set(1.0);
                self.state.send_modify(|state| {
                    state.generation += u64::from(again);
                    state.reconnects += u64::from(again);
                    state.connected = true;
                });
                if again {
                    tracing::info!("connected to the bus again");
                }
            }
            Event::Disconnected | Event::Closed => {
                self.connected.set(0.0);
                self.state.send_modify(|state| state.connected = false);
                tracing::warn!("disconnected from the bus");
            }
            Event::SlowConsumer(subscription) => {
                self.slow.increment(1);
                let mut count = 0;
                self.state.send_modify(|state| {
                    state.generation += 1;
                    state.slow_consumers += 1;
                    count = state.slow_consumers;
                });
                // One event for each message that was dropped: a line for each would make it worse.
                if count.is_power_of_two() {
                    tracing::warn!(
                        subscription,
                        count,
                        "a subscription's queue is full: live messages were dropped"
                    );
                }
            }
            Event::ServerError(error) => {
                self.errors.increment(1);
                tracing::error!(%error, "the bus refused something");
            }
            Event::ClientError(error) => tracing::warn!(%error, "the bus connection has trouble"),
            Event::LameDuckMode => tracing::info!("the server is going to shut down"),
            Event::Draining => {}
        }
    }
}
