//! Every setting of every service, in one table.
//!
//! Invariant: this table is the only source: validation, `.env.example` and the documentation come from it.

use super::{names, value::Kind};
use crate::service::Service::{self, AdminApi, Edge, Ops, Persister, Router};

/// What stands before every name in the environment.
pub const PREFIX: &str = "CHATBUS_";

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub section: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub services: &'static [Service],
    /// Never printed; may also be given as a file by `…_FILE`.
    pub secret: bool,
    /// Production refuses the default: somebody must have decided.
    pub decide: bool,
    pub doc: &'static str,
}

/// What holds when a setting is not given.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// Nothing; readers use `opt_text`.
    None,
    Is(&'static str),
    /// A loopback address with the service's port of this base: see `port`.
    Port(Listener),
    Profile {
        development: &'static str,
        production: &'static str,
    },
}

/// Which listener's port is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Public,
    Operations,
}

/// The port that instance `instance` of `service` uses unless told otherwise.
pub fn port(service: Service, listener: Listener, instance: u16) -> u16 {
    let base = match (listener, service) {
        (Listener::Public, AdminApi) => 7701,
        (Listener::Public, Edge | Router | Persister | Ops) => 7700,
        (Listener::Operations, Edge) => 7800,
        (Listener::Operations, AdminApi) => 7801,
        (Listener::Operations, Router) => 7802,
        (Listener::Operations, Persister) => 7803,
        (Listener::Operations, Ops) => 7804,
    };
    base + 10 * instance
}

/// The highest `INSTANCE`; its ports stay clear of everything else.
pub const INSTANCE_MAX: u64 = 99;

const SERVICES: &[Service] = &[Edge, Router, Persister, AdminApi];
const ALL: &[Service] = &Service::ALL;
const HTTP: &[Service] = &[Edge, AdminApi];
const DB: &[Service] = &[Persister, AdminApi, Ops];
const EDGE: &[Service] = &[Edge];
const ADMIN: &[Service] = &[AdminApi];
const NO_END: u64 = u64::MAX;

const fn setting(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: Default,
    services: &'static [Service],
    doc: &'static str,
) -> Setting {
    Setting { name, section, kind, default, services, secret: false, decide: false, doc }
}

impl Setting {
    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn decide(mut self) -> Self {
        self.decide = true;
        self
    }

    /// The variable as it stands in the environment.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

const PROCESS: &str = "Process";
const BUS: &str = "Bus";
const FILES: &str = "Files";
const DATABASE: &str = "Database";
const PUBLIC: &str = "Public side";
const KEYS: &str = "Keys";
const LIMITS: &str = "Limits (0 switches a limit off)";

/// All settings, in the order of the documentation.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting(PROCESS, names::PROFILE, Kind::OneOf(&["development", "production"]), Default::Is("development"), ALL,
        "`production` refuses to start with unsafe settings, and lists all of them at once."),
    setting(PROCESS, names::INSTANCE, Kind::Int(0, INSTANCE_MAX), Default::Is("0"), SERVICES,
        "Number of this process among its kind; default ports move by 10 for each."),
    setting(PROCESS, names::LOG, Kind::Text, Default::Is("info"), ALL,
        "Which log lines are written, as `tracing` directives, for example `info,edge=debug`."),
    setting(PROCESS, names::LOG_FORMAT, Kind::OneOf(&["auto", "human", "json"]), Default::Is("auto"), ALL,
        "`auto` is human on a terminal and JSON elsewhere."),
    setting(PROCESS, names::OPS_LISTEN, Kind::Addr, Default::Port(Listener::Operations), SERVICES,
        "Operations listener: `/metrics`, `/livez`, `/readyz`. Nothing on it asks for a password: keep it private."),
    setting(PROCESS, names::GRACE_MS, Kind::Millis, Default::Is("10000"), ALL,
        "How long an ordered shutdown may take before the process gives up with exit code 1."),
    setting(PROCESS, names::PRIVATE_NETWORK, Kind::Bool, Default::Is("false"), ALL,
        "Says that the network between the services is private, so that production accepts unencrypted NATS and SMTP on it."),
    setting(BUS, names::NATS_URL, Kind::Urls(&["nats", "tls"]), Default::Is("nats://127.0.0.1:7722"), ALL,
        "NATS servers, separated by commas; 2.12 or newer.").decide(),
    setting(BUS, names::NATS_CREDS_FILE, Kind::Path, Default::None, ALL,
        "Who this process is on the bus: a `.creds` file, or a file with a bare nkey seed (`SU…`)."),
    setting(BUS, names::NATS_WAIT_MS, Kind::Millis, Default::Is("30000"), ALL,
        "How long a start waits for the bus before it gives up with exit code 69."),
    setting(BUS, names::NATS_MONITOR_URL, Kind::Url(&["http"]), Default::None, ALL,
        "The server's monitoring address, for example `http://127.0.0.1:8222`; says whether acknowledged data is synced to disk."),
    setting(BUS, names::NATS_REPLICAS, Kind::Int(1, 5), Default::Is("1"), ALL,
        "Replicas of streams and buckets; 3 on three machines is the production shape."),
    setting(BUS, names::STREAM_BYTES_MAX, Kind::Int(1 << 20, NO_END), Default::Is("10737418240"), ALL,
        "Size limit of each log stream when it is provisioned."),
    setting(BUS, names::FILES_BYTES_MAX, Kind::Int(1 << 20, NO_END), Default::Is("10737418240"), ALL,
        "Size limit of the bus's object store of files when it is provisioned."),
    setting(BUS, names::SHARDS, Kind::Ints, Default::Is("0"), ALL,
        "Which shards of the log this installation has, or this process works on."),
    setting(FILES, names::FILES_S3_BUCKET, Kind::Text, Default::None, HTTP,
        "S3 bucket that keeps the bytes of files, instead of the bus's object store. Give it a life-cycle rule that ends incomplete uploads."),
    setting(FILES, names::FILES_S3_ENDPOINT, Kind::Url(&["http", "https"]), Default::None, HTTP,
        "Where S3 is spoken, if not at Amazon, for example `https://s3.example`."),
    setting(FILES, names::FILES_S3_REGION, Kind::Text, Default::Is("us-east-1"), HTTP,
        "Region of the bucket."),
    setting(FILES, names::FILES_S3_ACCESS_KEY, Kind::Text, Default::None, HTTP,
        "Who asks for the bucket's objects.").secret(),
    setting(FILES, names::FILES_S3_SECRET_KEY, Kind::Text, Default::None, HTTP,
        "What proves it.").secret(),
    setting(DATABASE, names::DATABASE_URL, Kind::Url(&["postgres", "postgresql"]), Default::Is("postgres://chatbus@127.0.0.1:7732/chatbus"), DB,
        "Postgres 15 or newer.").secret().decide(),
    setting(DATABASE, names::DATABASE_POOL_MAX, Kind::Int(1, 1000), Default::Is("10"), DB,
        "Most connections this process keeps to Postgres."),
    setting(PUBLIC, names::LISTEN, Kind::Addr, Default::Port(Listener::Public), HTTP,
        "Public listener."),
    setting(PUBLIC, names::PUBLIC_WS_URL, Kind::Url(&["ws", "wss"]), Default::Is("ws://127.0.0.1:7700/v1/ws"), HTTP,
        "Where browsers reach the edge's WebSocket; told to widgets as `ws_url`.").decide(),
    setting(PUBLIC, names::CONSOLE_URL, Kind::Url(&["http", "https"]), Default::Is("http://127.0.0.1:7701"), HTTP,
        "Where staff reach the console; its origin is allowed everywhere.").decide(),
    setting(PUBLIC, names::CORS_ORIGINS, Kind::List, Default::Is(""), HTTP,
        "Further origins that may call the HTTP API, separated by commas."),
    setting(PUBLIC, names::TRUSTED_PROXIES, Kind::Networks, Default::Is(""), HTTP,
        "Networks (CIDR) of proxies whose `X-Forwarded-For` or `Forwarded` is believed."),
    setting(PUBLIC, names::AGENT_GRACE_MS, Kind::Millis, Default::Is("20000"), &[Edge, Router],
        "How long an agent without a connection keeps their conversations, counted while the bus works."),
    setting(PUBLIC, names::ROUTER_TURNS, Kind::OneOf(&["lease", "together"]), Default::Is("lease"), &[Router],
        "Which of a shard's routers work: the holder of the lease, or all at once, as safe and with work done twice."),
    setting(PUBLIC, names::REGISTRATION, Kind::OneOf(&["open", "closed"]), Default::Profile { development: "open", production: "closed" }, ADMIN,
        "Whether anybody may register a tenant."),
    setting(PUBLIC, names::OIDC_PROVIDERS, Kind::Text, Default::None, ADMIN,
        "OpenID providers that staff may log in at: a JSON list of objects with `name`, `issuer`, `client_id`, `client_secret`, `redirect_uri` (this API's `/v1/auth/oidc/{name}/callback`) and, unless `openid email` is right, `scopes`.").secret(),
    setting(PUBLIC, names::SMTP_URL, Kind::Url(&["smtp", "smtps"]), Default::None, ADMIN,
        "Mail server for invitations and new passwords, for example `smtps://user:password@mail.example`; without it none is sent.").secret(),
    setting(PUBLIC, names::MAIL_FROM, Kind::Text, Default::Is("Chatbus <chatbus@localhost>"), ADMIN,
        "Who mails come from."),
    setting(PUBLIC, names::MAIL_DIR, Kind::Path, Default::None, ADMIN,
        "Directory that gets each mail as a file, for development without a mail server."),
    setting(KEYS, names::STAFF_KEY_FILE, Kind::Path, Default::Is(".chatbus/keys/staff.pem"), ADMIN,
        "Ed25519 private key (PEM, mode 0600) that signs staff tokens.").decide(),
    setting(KEYS, names::VISITOR_KEY_FILE, Kind::Path, Default::Is(".chatbus/keys/visitor.pem"), EDGE,
        "Ed25519 private key (PEM, mode 0600) that signs visitor tokens; the same for all edges.").decide(),
    setting(KEYS, names::UNVERIFIED_MS, Kind::Millis, Default::Is("60000"), EDGE,
        "How long staff stay connected while an edge cannot read which sessions were ended; then it sends them away."),
    setting(KEYS, names::CACHE_DIR, Kind::Path, Default::None, EDGE,
        "Where an edge keeps the public keys, so that it starts while admin-api is away."),
    setting(LIMITS, names::LIMIT_TEXT_BYTES, Kind::Int(0, NO_END), Default::Is("16384"), HTTP,
        "Text of a message."),
    setting(LIMITS, names::LIMIT_MESSAGE_BYTES, Kind::Int(0, NO_END), Default::Is("65536"), HTTP,
        "A whole request."),
    setting(LIMITS, names::LIMIT_FILE_BYTES, Kind::Int(0, NO_END), Default::Is("10485760"), HTTP,
        "An uploaded file."),
    setting(LIMITS, names::LIMIT_REQUESTS_IN_FLIGHT, Kind::Int(0, NO_END), Default::Is("16"), EDGE,
        "Unanswered requests of a connection."),
    setting(LIMITS, names::LIMIT_EVENTS_BURST, Kind::Int(0, NO_END), Default::Is("20"), EDGE,
        "Events a connection may send at once."),
    setting(LIMITS, names::LIMIT_EVENTS_PER_SECOND, Kind::Int(0, NO_END), Default::Is("5"), EDGE,
        "Events a connection may send per second after its burst."),
    setting(LIMITS, names::LIMIT_EVENTS_PER_SECOND_PER_TENANT, Kind::Int(0, NO_END), Default::Is("2000"), EDGE,
        "Events of one tenant per second over all edges; each edge enforces its part."),
    setting(LIMITS, names::LIMIT_BYTES_PER_SECOND_PER_TENANT, Kind::Int(0, NO_END), Default::Is("8388608"), EDGE,
        "Bytes of one tenant's events per second over all edges; each edge enforces its part."),
    setting(LIMITS, names::LIMIT_STARTS_PER_SECOND_PER_TENANT, Kind::Int(0, NO_END), Default::Is("200"), EDGE,
        "Threads that one tenant's visitors may start per second over all edges; each edge enforces its part."),
    setting(LIMITS, names::LIMIT_OPEN_CONVERSATIONS_PER_TENANT, Kind::Int(0, NO_END), Default::Is("100000"), &[Router],
        "Conversations of one tenant that may be open when a visitor starts another; the router counts them, and while it is away nobody does."),
    setting(LIMITS, names::LIMIT_FILE_BYTES_PER_MINUTE_PER_TENANT, Kind::Int(0, NO_END), Default::Is("1073741824"), EDGE,
        "Bytes of files that one tenant's people may upload per minute over all edges; each edge enforces its part."),
    setting(LIMITS, names::LIMIT_UPLOADS_PER_MINUTE_PER_PERSON, Kind::Int(0, NO_END), Default::Is("30"), EDGE,
        "Files that one person may upload per minute at one edge."),
    setting(LIMITS, names::LIMIT_UPLOADS_AT_ONCE, Kind::Int(0, NO_END), Default::Is("64"), EDGE,
        "Uploads at one edge at the same time."),
    setting(LIMITS, names::LIMIT_UPLOADS_AT_ONCE_PER_PERSON, Kind::Int(0, NO_END), Default::Is("3"), EDGE,
        "The same of one person."),
    setting(LIMITS, names::LIMIT_CONNECTIONS, Kind::Int(0, NO_END), Default::Is("100000"), EDGE,
        "Connections at one edge, of any kind."),
    setting(LIMITS, names::LIMIT_CONNECTIONS_PER_SECOND, Kind::Int(0, NO_END), Default::Is("5000"), EDGE,
        "Connections that one edge accepts per second; more wait in the kernel's queue."),
    setting(LIMITS, names::LIMIT_CONNECTIONS_PER_VISITOR, Kind::Int(0, NO_END), Default::Is("8"), EDGE,
        "Connections of one visitor at one edge; the oldest is closed."),
    setting(LIMITS, names::LIMIT_CONNECTIONS_PER_AGENT, Kind::Int(0, NO_END), Default::Is("20"), EDGE,
        "Connections of one agent at one edge; the oldest is closed."),
    setting(LIMITS, names::LIMIT_CONNECTIONS_PER_ADDRESS, Kind::Int(0, NO_END), Default::Is("2000"), EDGE,
        "Connections from one network address (of IPv6 a /64) at one edge."),
    setting(LIMITS, names::LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS, Kind::Int(0, NO_END), Default::Is("600"), EDGE,
        "Widget sessions from one network address per minute at one edge."),
    setting(LIMITS, names::LIMIT_SESSIONS_PER_MINUTE_PER_WIDGET, Kind::Int(0, NO_END), Default::Is("12000"), EDGE,
        "Widget sessions of one widget per minute at one edge."),
    setting(LIMITS, names::LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS, Kind::Int(0, NO_END), Default::Is("6000"), EDGE,
        "Logins on sockets from one network address per minute at one edge."),
    setting(LIMITS, names::LIMIT_LOGINS_AT_ONCE, Kind::Int(0, NO_END), Default::Is("64"), EDGE,
        "Logins on sockets that one edge works on at once, where one of staff counts as 4; others wait their turn for 4 s."),
    setting(LIMITS, names::LIMIT_WAITING_LOGINS, Kind::Int(0, NO_END), Default::Is("4096"), EDGE,
        "Sockets at one edge that have not logged in; more are told to come back later."),
    setting(LIMITS, names::LIMIT_WAITING_LOGINS_PER_ADDRESS, Kind::Int(0, NO_END), Default::Is("512"), EDGE,
        "The same from one network address."),
    setting(LIMITS, names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, Kind::Int(0, NO_END), Default::Is("30"), ADMIN,
        "Password logins from one network address per minute."),
    setting(LIMITS, names::LIMIT_DEAD_AFTER_MS, Kind::Millis, Default::Is("60000"), EDGE,
        "Silence after which a connection counts as dead; the edge pings it after two thirds of the time."),
    setting(LIMITS, names::LIMIT_OUTBOX_BYTES, Kind::Int(0, NO_END), Default::Is("1048576"), EDGE,
        "Bytes that may wait for one connection before it is closed as too slow."),
];

/// Variables with our prefix that are no service's setting: what `ops` writes and reads itself.
#[rustfmt::skip]
pub const NOT_SETTINGS: &[&str] = &[
    "EDGE_URLS", "ADMIN_URL", "WIDGET_KEY", "ADMIN_EMAIL", "ADMIN_PASSWORD", "AGENT_EMAIL", "AGENT_PASSWORD",
    "EDGE_OPS_URLS", "ADMIN_OPS_URLS", "ADMIN_API_OPS_URLS", "ROUTER_OPS_URLS", "PERSISTER_OPS_URLS", "PIDS",
    "NO_INSTALL", "NATS_SERVER_BIN", "POSTGRES_BIN_DIR", "REVISION", "DATA", "UP_ENV", "KEEP", "LONG", "BIN_DIR",
    "BROWSER_BIN", "SCREENSHOT", "MOTO_PYTHON", "OIDC_DIR",
];

/// The setting with this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_default_is_valid() {
        for (at, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[..at].iter().all(|other| other.name != setting.name), "{} twice", setting.name);
            assert!(!setting.services.is_empty() && setting.doc.ends_with('.'), "{}", setting.name);
            let defaults: &[&str] = match setting.default {
                Default::None | Default::Port(_) => &[],
                Default::Is(text) => &[text],
                Default::Profile { development, production } => &[development, production],
            };
            for default in defaults {
                assert!(setting.kind.read(default, setting.secret).is_ok(), "{} = {default}", setting.name);
            }
        }
    }

    #[test]
    fn default_ports_are_those_of_the_contract() {
        assert_eq!(port(Edge, Listener::Public, 2), 7720);
        assert_eq!(port(AdminApi, Listener::Public, 0), 7701);
        let operations = [Edge, AdminApi, Router, Persister].map(|s| port(s, Listener::Operations, 0));
        assert_eq!(operations, [7800, 7801, 7802, 7803]);
        assert_eq!(port(Router, Listener::Operations, 1), 7812);
    }
}
