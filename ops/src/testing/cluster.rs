//! Three nats-servers that replicate.
//!
//! A member that is killed or paused comes back on its ports with its store.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::nats::program;
use super::scratch::Scratch;
use super::wait::wait_for;
use crate::dev::guard::Signal;
use crate::dev::nats::{Member, Nats, NatsSpec, Sync};
use crate::dev::{ports, probe};

const MEMBERS: usize = 3;
const FORM_WITHIN: Duration = Duration::from_secs(30);
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// A running cluster; it and its data are gone when this is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Node>,
    _dirs: Vec<Scratch>,
}

#[derive(Debug)]
struct Node {
    running: Option<Nats>,
    spec: NatsSpec,
}

impl NatsCluster {
    pub async fn start() -> Self {
        Self::with(Sync::Default, "").await
    }

    /// A cluster whose every server has the configuration text `config` as well.
    pub async fn with(sync: Sync, config: &str) -> Self {
        let program = program().await;
        let routes = ports::free_many(MEMBERS).expect("there are free ports");
        let dirs: Vec<_> =
            (0..MEMBERS).map(|_| Scratch::new("nats").expect("a temporary directory")).collect();
        let mut nodes = Vec::with_capacity(MEMBERS);
        for (index, dir) in dirs.iter().enumerate() {
            let member = Member { cluster: "test".to_owned(), port: routes[index], routes: routes.clone() };
            let mut spec = NatsSpec {
                program: program.clone(),
                dir: dir.path().to_path_buf(),
                name: node_name(index),
                port: None,
                monitor_port: None,
                sync,
                member: Some(member),
                extra: config.to_owned(),
                throwaway: true,
            };
            let nats = spec.launch().await.unwrap_or_else(|error| panic!("{error}"));
            nodes.push(Node { running: Some(nats), spec });
        }
        let cluster = Self { nodes, _dirs: dirs };
        wait_for(FORM_WITHIN, "the cluster to elect a leader", async || cluster.meta_leader().await).await;
        cluster.wait_healthy().await;
        cluster
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where one member listens.
    pub fn address(&self, index: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.nodes[index].spec.port.unwrap_or_default()).into()
    }

    /// One member's URL.
    pub fn url(&self, index: usize) -> String {
        format!("nats://{}", self.address(index))
    }

    /// All members' URLs, separated by commas.
    pub fn urls(&self) -> String {
        (0..self.len()).map(|index| self.url(index)).collect::<Vec<_>>().join(",")
    }

    /// The same with a user of the configuration in each.
    pub fn urls_as(&self, user: &str, password: &str) -> String {
        self.urls().replace("nats://", &format!("nats://{user}:{password}@"))
    }

    /// A client without a user that knows all members.
    pub async fn client(&self) -> async_nats::Client {
        let urls: Vec<_> = (0..self.len()).map(|index| self.url(index)).collect();
        async_nats::connect(urls).await.expect("a member is ready")
    }

    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].running.as_ref().map(|nats| nats.process.pid())
    }

    /// The member that leads the cluster itself.
    pub async fn meta_leader(&self) -> Option<usize> {
        #[derive(Deserialize)]
        struct Jsz {
            meta_cluster: Option<Meta>,
        }
        #[derive(Deserialize)]
        struct Meta {
            leader: Option<String>,
            #[serde(default)]
            cluster_size: usize,
        }
        for node in &self.nodes {
            let Some(nats) = &node.running else { continue };
            let Ok(answer) = probe::get(nats.monitor, "/jsz").await else { continue };
            let Ok(jsz) = serde_json::from_str::<Jsz>(&answer.body) else { continue };
            let Some(meta) = jsz.meta_cluster.filter(|meta| meta.cluster_size == self.len()) else {
                continue;
            };
            if let Some(leader) = meta.leader.and_then(|name| node_index(&name)) {
                return Some(leader);
            }
        }
        None
    }

    /// The member that leads a stream, as a client that may see the stream is told.
    pub async fn leader(&self, client: &async_nats::Client, stream: &str) -> Option<usize> {
        let context = async_nats::jetstream::new(client.clone());
        let stream = context.get_stream(stream).await.ok()?;
        let leader = stream.cached_info().cluster.as_ref()?.leader.as_ref()?;
        node_index(leader)
    }

    /// Asks the leader of a stream to let another member lead.
    pub async fn step_down(&self, client: &async_nats::Client, stream: &str) {
        let context = async_nats::jetstream::new(client.clone());
        let asked: serde_json::Value = context
            .request(format!("STREAM.LEADER.STEPDOWN.{stream}"), &())
            .await
            .expect("a cluster answers its administrator");
        assert_eq!(asked["success"], true, "{asked}");
    }

    /// Waits until every running member has caught up.
    pub async fn wait_healthy(&self) {
        for node in &self.nodes {
            let Some(nats) = &node.running else { continue };
            wait_for(HEALTHY_WITHIN, "a cluster member to be healthy", async || {
                match probe::get(nats.monitor, "/healthz").await {
                    Ok(answer) if answer.is_ok() => Ok(()),
                    Ok(answer) => Err(answer.body),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await;
        }
    }

    /// Kills a member with -9.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut nats) = self.nodes[index].running.take() {
            nats.process.kill().expect("kill -9 ends a process");
        }
    }

    /// Starts a member again on its ports and its store, killing it first if it runs. It may still have to catch up.
    pub async fn restart(&mut self, index: usize) {
        self.kill(index);
        let node = &mut self.nodes[index];
        node.running = Some(node.spec.launch().await.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Freezes a member.
    pub fn pause(&mut self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    pub fn resume(&mut self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    fn signal(&mut self, index: usize, signal: Signal) {
        if let Some(nats) = &mut self.nodes[index].running {
            nats.process.signal(signal).expect("a running process takes signals");
        }
    }
}

fn node_name(index: usize) -> String {
    format!("node-{index}")
}

fn node_index(name: &str) -> Option<usize> {
    name.strip_prefix("node-")?.parse().ok()
}
