//! Which processes run, on which ports, with which environment.
//!
//! Pure: the same options and ports make the same plan.

use std::path::PathBuf;

use super::keys;
use crate::dev::ports;
use crate::service::Service;
use crate::settings::names;
use crate::settings::table::{Listener, PREFIX, port};

pub const NATS_PORT: u16 = 7722;
pub const POSTGRES_PORT: u16 = 7732;
const MONITOR_PORT: u16 = 7725;
/// Apart from each other, because Postgres is between them.
const ROUTE_PORTS: [u16; 3] = [7733, 7734, 7735];

/// How many of each.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub edges: u16,
    pub routers: u16,
    pub persisters: u16,
    /// nats-servers started here; 0 when they are somebody else's.
    pub nats: usize,
}

/// One process of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub service: Service,
    pub index: u16,
    pub public: Option<u16>,
    pub operations: u16,
}

/// The ports of one nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatsPorts {
    pub client: u16,
    pub monitor: u16,
    pub route: u16,
}

/// Everything that will run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub nats: Vec<NatsPorts>,
    pub postgres: u16,
    /// In the order of `CHATBUS_PIDS`.
    pub instances: Vec<Instance>,
}

/// Where the servers are, and what opens them.
#[derive(Debug, Clone)]
pub struct Wiring {
    pub nats_url: String,
    pub nats_monitor_url: Option<String>,
    pub nats_replicas: usize,
    pub database_url: String,
    pub keys: PathBuf,
    pub cache: PathBuf,
    /// Whether the nats-servers are ours, with a user for each service.
    pub own_nats: bool,
}

impl Plan {
    /// On the ports of the contract.
    pub fn fixed(shape: Shape) -> Self {
        let nats = (0..3_u16).zip(ROUTE_PORTS).take(shape.nats);
        Self {
            nats: nats
                .map(|(n, route)| NatsPorts { client: NATS_PORT + n, monitor: MONITOR_PORT + n, route })
                .collect(),
            postgres: POSTGRES_PORT,
            instances: instances(shape, port),
        }
    }

    /// On ports out of `free`, of which there must be [`Self::ports_needed`].
    pub fn automatic(shape: Shape, free: &[u16]) -> Self {
        let mut free = free.iter().copied();
        let mut next = move || free.next().expect("as many ports as needed were asked for");
        let nats =
            (0..shape.nats).map(|_| NatsPorts { client: next(), monitor: next(), route: next() }).collect();
        let postgres = next();
        Self { nats, postgres, instances: instances(shape, move |_, _, _| next()) }
    }

    pub fn ports_needed(shape: Shape) -> usize {
        Self::fixed(shape).ports().len() + 1
    }

    /// Every port of ours that must be free, except Postgres's.
    pub fn ports(&self) -> Vec<u16> {
        let nats = self.nats.iter().flat_map(|nats| [nats.client, nats.monitor, nats.route]);
        let services = self
            .instances
            .iter()
            .flat_map(|instance| instance.public.into_iter().chain([instance.operations]));
        nats.chain(services).collect()
    }

    pub fn of(&self, service: Service) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |instance| instance.service == service)
    }

    /// The public URLs of a service's processes.
    pub fn urls(&self, service: Service) -> Vec<String> {
        self.of(service).filter_map(|instance| instance.public).map(http).collect()
    }

    /// The origins of pages that a service's processes serve, by either name of this machine.
    pub fn origins(&self, service: Service) -> Vec<String> {
        self.urls(service).into_iter().flat_map(|url| [url.replace("127.0.0.1", "localhost"), url]).collect()
    }

    /// The URLs of its operations listeners.
    pub fn operations_urls(&self, service: Service) -> Vec<String> {
        self.of(service).map(|instance| http(instance.operations)).collect()
    }

    /// The settings of one process.
    pub fn settings(&self, instance: &Instance, wiring: &Wiring) -> Vec<(String, String)> {
        let mut pairs = vec![
            (names::INSTANCE, instance.index.to_string()),
            (names::OPS_LISTEN, ports::loopback(instance.operations).to_string()),
        ];
        pairs.extend(wiring.shared(instance.service));
        if let Some(public) = instance.public {
            pairs.push((names::LISTEN, ports::loopback(public).to_string()));
            let edge = self.of(Service::Edge).find_map(|edge| edge.public).unwrap_or(public);
            let edge = if instance.service == Service::Edge { public } else { edge };
            pairs.push((names::PUBLIC_WS_URL, format!("ws://{}/v1/ws", ports::loopback(edge))));
            pairs.extend(self.urls(Service::AdminApi).into_iter().map(|url| (names::CONSOLE_URL, url)));
            // The demo's page comes from an edge, and talks to all of them and to admin-api.
            pairs.push((names::CORS_ORIGINS, self.origins(Service::Edge).join(",")));
        }
        match instance.service {
            Service::Edge => {
                pairs.push((names::VISITOR_KEY_FILE, path(wiring.keys.join(keys::VISITOR))));
                pairs.push((names::CACHE_DIR, path(wiring.cache.join(instance.name()))));
            }
            Service::AdminApi => {
                pairs.push((names::STAFF_KEY_FILE, path(wiring.keys.join(keys::STAFF))));
                pairs.push((names::MAIL_DIR, path(wiring.cache.join("mail"))));
            }
            Service::Router | Service::Persister | Service::Ops => {}
        }
        pairs.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect()
    }
}

impl Wiring {
    /// What a process of this kind has in common with its like, and `ops` itself needs too.
    pub fn shared(&self, service: Service) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (names::NATS_URL, self.nats_url.clone()),
            (names::NATS_REPLICAS, self.nats_replicas.to_string()),
        ];
        pairs.extend(self.nats_monitor_url.iter().map(|url| (names::NATS_MONITOR_URL, url.clone())));
        if self.own_nats {
            pairs.push((names::NATS_CREDS_FILE, path(keys::bus_seed(&self.keys, service))));
        }
        if matches!(service, Service::Persister | Service::AdminApi | Service::Ops) {
            pairs.push((names::DATABASE_URL, self.database_url.clone()));
        }
        pairs
    }
}

impl Instance {
    /// `edge-0`: the name of its log.
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.index)
    }
}

fn instances(shape: Shape, mut port: impl FnMut(Service, Listener, u16) -> u16) -> Vec<Instance> {
    let kinds = [
        (Service::Edge, shape.edges),
        (Service::Router, shape.routers),
        (Service::Persister, shape.persisters),
        (Service::AdminApi, 1),
    ];
    let mut all = Vec::new();
    for (service, count) in kinds {
        for index in 0..count {
            let public = matches!(service, Service::Edge | Service::AdminApi);
            let public = public.then(|| port(service, Listener::Public, index));
            all.push(Instance {
                service,
                index,
                public,
                operations: port(service, Listener::Operations, index),
            });
        }
    }
    all
}

pub fn http(port: u16) -> String {
    format!("http://{}", ports::loopback(port))
}

fn path(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { edges: 2, routers: 2, persisters: 1, nats: 3 };

    #[test]
    fn fixed_ports_are_those_of_the_contract_and_all_different() {
        let plan = Plan::fixed(SHAPE);
        assert_eq!(plan.urls(Service::Edge), ["http://127.0.0.1:7700", "http://127.0.0.1:7710"]);
        assert_eq!(plan.operations_urls(Service::Router), ["http://127.0.0.1:7802", "http://127.0.0.1:7812"]);
        let many = Plan::fixed(Shape { edges: 9, routers: 9, persisters: 9, nats: 3 });
        let mut ports = many.ports();
        ports.push(many.postgres);
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }

    #[test]
    fn automatic_ports_are_taken_once_each() {
        let free: Vec<u16> = (1..).take(Plan::ports_needed(SHAPE)).collect();
        let plan = Plan::automatic(SHAPE, &free);
        let mut used = plan.ports();
        used.push(plan.postgres);
        used.sort_unstable();
        assert_eq!(used, free);
    }

    #[test]
    fn only_who_needs_the_database_or_a_signing_key_is_told() {
        let plan = Plan::fixed(SHAPE);
        let wiring = Wiring {
            nats_url: "nats://n".into(),
            nats_monitor_url: None,
            nats_replicas: 1,
            database_url: "postgres://p".into(),
            keys: "/k".into(),
            cache: "/c".into(),
            own_nats: true,
        };
        let names = |instance: &Instance| -> Vec<String> {
            plan.settings(instance, &wiring).into_iter().map(|(name, _)| name).collect()
        };
        for instance in &plan.instances {
            let names = names(instance);
            let has = |name: &str| names.iter().any(|n| n == name);
            let is = |service: Service| instance.service == service;
            assert_eq!(has("CHATBUS_DATABASE_URL"), is(Service::Persister) || is(Service::AdminApi));
            assert_eq!(has("CHATBUS_VISITOR_KEY_FILE"), is(Service::Edge));
            assert_eq!(has("CHATBUS_STAFF_KEY_FILE"), is(Service::AdminApi));
        }
    }
}
