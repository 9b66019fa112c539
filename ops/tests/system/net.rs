//! The network between clients and edges, on which everything that happens on a train can be done.

use std::{net::SocketAddr, time::Duration};

use ops::testing::{Direction, Fault, FaultProxy};
use rand::{Rng, RngExt as _};

use crate::world::World;

/// Frames are a few hundred bytes: a cut lands in handshakes, headers and payloads alike.
const CUT_WITHIN_BYTES: u64 = 6_000;

/// Proxies in front of the edges; a client that reconnects comes through another one.
pub struct Net {
    proxies: Vec<FaultProxy>,
}

impl Net {
    /// `lanes` proxies in front of each edge.
    pub async fn start(world: &World, lanes: usize, seed: u64) -> Self {
        let edges: Vec<SocketAddr> = world
            .edge_urls()
            .iter()
            .map(|url| url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap())
            .collect();
        let mut proxies = Vec::new();
        for lane in 0..lanes {
            for (n, edge) in edges.iter().enumerate() {
                let seed = seed ^ ((lane * edges.len() + n) as u64) << 32;
                proxies.push(FaultProxy::start(*edge, seed).await.unwrap());
            }
        }
        Self { proxies }
    }

    /// What clients are told to connect to: each edge in turn, each time by another way.
    pub fn urls(&self) -> Vec<String> {
        self.proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect()
    }

    /// Does something to one of the ways; gives its name.
    pub fn disturb(&self, random: &mut impl Rng) -> &'static str {
        let proxy = &self.proxies[random.random_range(0..self.proxies.len())];
        let millis = |from: u64, to: u64, random: &mut _| {
            Duration::from_millis(rand::RngExt::random_range(random, from..to))
        };
        match random.random_range(0..100) {
            0..45 => {
                let direction =
                    if random.random_bool(0.5) { Direction::ToServer } else { Direction::ToClient };
                let bytes = random.random_range(0..CUT_WITHIN_BYTES);
                proxy.inject(Fault::CutAfter { direction, bytes });
                "cut at a byte"
            }
            45..60 => {
                proxy.cut_all();
                "reset"
            }
            60..70 => {
                proxy.inject(Fault::BlackHole);
                "black hole"
            }
            70..80 => {
                let (least, jitter) = (millis(5, 300, random), millis(0, 500, random));
                proxy.inject(Fault::Delay { least, jitter });
                "delay"
            }
            80..88 => {
                proxy.inject(Fault::Throttle { bytes_per_second: random.random_range(500..8_000) });
                "throttle"
            }
            88..93 => {
                proxy.inject(Fault::Refuse);
                "refuse"
            }
            _ => {
                proxy.heal();
                "heal"
            }
        }
    }

    pub fn heal(&self) {
        self.proxies.iter().for_each(FaultProxy::heal);
    }
}
