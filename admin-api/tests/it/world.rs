//! A running service with a database and, where wanted, a bus of its own.

use std::{path::PathBuf, time::Duration};

use admin_api::{
    Calendar,
    routes::{self, APPLIED_SEQ, Route},
};
use bus_schema::{ErrorCode, Shard};
use ops::{
    nats::{Bus, Options, connect_with},
    nats_users::{BusUser, server_config},
    provision::{self, Plan},
    service::{Context, Service},
    settings::{Settings, names},
    testing::{Database, NatsOptions, NatsServer, Postgres, Scratch, wait_for},
};
use reqwest::{
    Method,
    header::{self, HeaderMap, HeaderName},
};
use serde_json::{Value, json};

pub use ops::testing::Got;

use crate::openapi;

pub const PASSWORD: &str = "correct horse battery";
const UP_WITHIN: Duration = Duration::from_secs(20);

pub struct World {
    pub url: String,
    pub database_url: String,
    _database: Option<Database<'static>>,
    pub key_file: String,
    pub http: reqwest::Client,
    pub context: Context,
    pub nats_url: String,
    /// What day it is for whatever waits for days.
    pub calendar: Calendar,
    users: Option<Users>,
    _keys: Option<Scratch>,
}

/// Files that say who one is on the bus.
#[derive(Debug, Clone)]
pub struct Users {
    admin_api: String,
    /// Without bounds, for what other services would do.
    anybody: PathBuf,
}

/// A provisioned bus on which admin-api has its own user, with least rights.
pub struct BusServer {
    pub nats: NatsServer,
    users: Users,
    _keys: Scratch,
}

impl BusServer {
    pub async fn start() -> Self {
        let keys = Scratch::new("bus-keys").unwrap();
        let file = |service: Service| keys.path().join(service.name());
        let user = |service| BusUser::load_or_generate(service, &file(service)).unwrap();
        let anybody = format!("users = [\n    {{ nkey: {} }}", user(Service::Ops).public());
        let config =
            server_config(&[user(Service::AdminApi)], &[Shard(0)]).replacen("users = [", &anybody, 1);
        let nats = NatsServer::with(NatsOptions { config, ..NatsOptions::default() }).await;
        let users =
            Users { admin_api: file(Service::AdminApi).display().to_string(), anybody: file(Service::Ops) };
        let server = Self { nats, users, _keys: keys };
        // Small: a server refuses streams that the disk could not hold.
        let plan =
            Plan { shards: vec![Shard(0)], replicas: 1, log_bytes_max: 1 << 30, files_bytes_max: 256 << 20 };
        provision::apply(&server.bus().await, &plan).await.unwrap();
        server
    }

    /// As somebody without bounds.
    pub async fn bus(&self) -> Bus {
        self.users.bus(&self.nats.url()).await
    }
}

impl Users {
    async fn bus(&self, url: &str) -> Bus {
        connect_with(Options { credentials: Some(self.anybody.clone()), ..Options::new(url, "ops") })
            .await
            .unwrap()
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    pub token: String,
    pub refresh_token: String,
    pub id: String,
    pub tenant: String,
}

impl Person {
    pub fn of(email: &str, got: &Got) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            email: email.to_owned(),
            token: text(&got.body["access_token"]),
            refresh_token: text(&got.body["refresh_token"]),
            id: text(&got.body["agent"]["id"]),
            tenant: text(&got.body["tenant"]["id"]),
        }
    }
}

impl World {
    /// Without a bus: nothing listens where it should be.
    pub async fn alone() -> Self {
        let port = ops::dev::ports::free().unwrap();
        Self::with(format!("nats://127.0.0.1:{port}"), &[]).await
    }

    pub async fn on(server: &BusServer) -> Self {
        Self::on_with(server, &[]).await
    }

    pub async fn on_with(server: &BusServer, more: &[(&str, &str)]) -> Self {
        let user = (names::NATS_CREDS_FILE, server.users.admin_api.as_str());
        let mut world = Self::with(server.nats.url(), &[&[user], more].concat()).await;
        world.users = Some(server.users.clone());
        world
    }

    pub async fn with(nats_url: String, more: &[(&str, &str)]) -> Self {
        let migrate = async |url: String| drop(persister::db::migrations::run(&url).await.unwrap());
        let database = Postgres::shared().await.database_from("migrated", migrate).await;
        let keys = Scratch::new("keys").unwrap();
        let key_file = keys.path().join("staff.pem").display().to_string();
        let url = database.url();
        let mut world = Self::start(nats_url, url, key_file, more).await;
        world._database = Some(database);
        world._keys = Some(keys);
        world
    }

    /// Another instance on the same database, bus and key.
    pub async fn beside(other: &Self) -> Self {
        let user = other.users.as_ref().map(|users| (names::NATS_CREDS_FILE, users.admin_api.as_str()));
        let (nats, database, key) = (&other.nats_url, &other.database_url, &other.key_file);
        let mut world = Self::start(nats.clone(), database.clone(), key.clone(), user.as_slice()).await;
        world.users = other.users.clone();
        world
    }

    /// Another instance, which reaches the same database by another way.
    pub async fn by(other: &Self, database_url: String) -> Self {
        Self::start(other.nats_url.clone(), database_url, other.key_file.clone(), &[]).await
    }

    async fn start(nats_url: String, database_url: String, key_file: String, more: &[(&str, &str)]) -> Self {
        let ports = ops::dev::ports::free_many(2).unwrap();
        let wanted =
            more.iter().find(|(name, _)| *name == names::LISTEN).map(|(_, listen)| (*listen).to_owned());
        let listen = wanted.unwrap_or_else(|| format!("127.0.0.1:{}", ports[0]));
        let ops_listen = format!("127.0.0.1:{}", ports[1]);
        let mut pairs = vec![
            (names::LISTEN, listen.as_str()),
            (names::OPS_LISTEN, &ops_listen),
            (names::DATABASE_URL, &database_url),
            (names::NATS_URL, &nats_url),
            (names::STAFF_KEY_FILE, &key_file),
            (names::REGISTRATION, "open"),
            (names::LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS, "0"),
        ];
        pairs.extend_from_slice(more);
        ops::service::install_crypto();
        let context = Context::new(Settings::from_pairs(Service::AdminApi, &pairs).unwrap());
        let calendar = Calendar::default();
        let running = tokio::spawn(admin_api::run_by(context.clone(), calendar.clone()));
        let world = Self {
            url: format!("http://{listen}"),
            database_url,
            _database: None,
            key_file,
            http: reqwest::Client::new(),
            context,
            nats_url,
            calendar,
            users: None,
            _keys: None,
        };
        wait_for(UP_WITHIN, "admin-api to answer", async || {
            assert!(!running.is_finished(), "admin-api ended");
            world.http.get(format!("{}/healthz", world.url)).send().await.is_ok_and(|r| r.status() == 200)
        })
        .await;
        world
    }

    /// As somebody without bounds.
    pub async fn bus(&self) -> Bus {
        self.users.as_ref().unwrap().bus(&self.nats_url).await
    }

    /// The file that says who such a one is.
    pub fn anybody(&self) -> String {
        self.users.as_ref().unwrap().anybody.display().to_string()
    }

    /// The file that says who this service is on the bus.
    pub fn own_user(&self) -> String {
        self.users.as_ref().unwrap().admin_api.clone()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let got = Got::of(self.http.execute(request).await.unwrap()).await.unwrap();
        documented(&method, &path, got.status.as_u16(), &got.headers, &got.body);
        got
    }

    /// The same in a task of its own.
    pub fn send_alone(
        &self,
        request: reqwest::RequestBuilder,
    ) -> impl Future<Output = Result<reqwest::Response, reqwest::Error>> + use<> {
        request.send()
    }

    pub async fn postgres(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Until a statement waits for what another transaction holds.
    pub async fn somebody_waits_for_a_lock(&self) {
        self.so_many_wait_for_a_lock(1).await;
    }

    pub async fn so_many_wait_for_a_lock(&self, least: usize) {
        let waits =
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let postgres = self.postgres().await;
        wait_for(UP_WITHIN, "statements to wait for a lock", async || {
            postgres.query(waits, &[]).await.unwrap().len() >= least
        })
        .await;
    }

    /// Whether a request with this idempotency key was begun.
    pub async fn begun(&self, key: &str) -> bool {
        let found = "SELECT FROM config.idempotency_keys WHERE key = $1";
        !self.postgres().await.query(found, &[&key]).await.unwrap().is_empty()
    }

    pub async fn get(&self, who: &Person, path: &str) -> Got {
        self.send(self.request(Method::GET, path).bearer_auth(&who.token)).await
    }

    pub async fn call(&self, method: Method, who: &Person, path: &str, body: Value) -> Got {
        self.send(self.request(method, path).bearer_auth(&who.token).json(&body)).await
    }

    pub async fn post(&self, who: &Person, path: &str, body: Value) -> Got {
        self.call(Method::POST, who, path, body).await
    }

    pub async fn patch(&self, who: &Person, path: &str, body: Value) -> Got {
        self.call(Method::PATCH, who, path, body).await
    }

    pub async fn delete(&self, who: &Person, path: &str) -> Got {
        self.send(self.request(Method::DELETE, path).bearer_auth(&who.token)).await
    }

    /// Without a token.
    pub async fn public(&self, path: &str, body: Value) -> Got {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// A new tenant's first admin.
    pub async fn register(&self, name: &str) -> Person {
        let email = format!("admin@{name}.example");
        let body = json!({ "tenant_name": name, "name": "Ann Admin", "email": email, "password": PASSWORD });
        let got = self.send(self.request(Method::POST, "/v1/auth/register").json(&body)).await.is(201);
        Person::of(&email, &got)
    }

    pub async fn login(&self, email: &str) -> Person {
        let body = json!({ "email": email, "password": PASSWORD });
        let got = self.send(self.request(Method::POST, "/v1/auth/login").json(&body)).await.is(200);
        Person::of(email, &got)
    }

    /// A new agent of `admin`'s tenant, logged in.
    pub async fn agent(&self, admin: &Person, name: &str, role: &str) -> Person {
        let email = format!("{name}@{}.example", admin.tenant);
        let body = json!({ "email": email, "name": name, "role": role, "password": PASSWORD });
        self.post(admin, "/v1/agents", body).await.is(201);
        self.login(&email).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

/// The line of the table that answers a request.
fn line(method: &Method, path: &str) -> Option<Route> {
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let given = parts(path);
    let names = |route: &&Route| {
        let own = parts(route.path);
        own.len() == given.len()
            && own.iter().zip(&given).all(|(own, given)| own.starts_with('{') || own == given)
    };
    let mut routes = routes::table();
    routes.retain(|route| names(&route));
    // What is written out comes before what is a parameter, as in the router, whatever the method: of a path without
    // this one no line of the table says anything.
    let parameters = |route: &&Route| route.path.matches('{').count();
    let fewest = routes.iter().map(|route| parameters(&route)).min();
    routes
        .into_iter()
        .filter(|route| Some(parameters(&route)) == fewest)
        .find(|route| route.method == *method)
}

/// Every answer that a test meets has the headers and the body, and every problem is one, that the documentation of its route names.
#[track_caller]
pub fn documented(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &Value) {
    let Some(route) = line(method, path) else { return };
    assert!(headers.contains_key("x-request-id"), "{} names no request: {headers:?}", route.name);
    if status < 400 {
        let carries = route.carries();
        for name in [HeaderName::from_static(APPLIED_SEQ), header::ETAG, header::LOCATION] {
            let (is, should) = (headers.contains_key(&name), carries.contains(&name));
            assert_eq!(is, should, "{name} of a {status} of {}: {headers:?}", route.name);
        }
        if status < 300 {
            openapi::held(route.name, body);
        }
        return;
    }
    assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == 401, "{}: {headers:?}", route.name);
    let Some(code) = body["code"].as_str() else { return };
    let code = ErrorCode::parse(code).unwrap();
    if routes::ALWAYS.contains(&code) {
        return;
    }
    let known = route.problems();
    assert!(
        known.get(&status).is_some_and(|codes| codes.contains(&code)),
        "{} may answer {status} {code}, which its line of the table does not say: {body:#}",
        route.name
    );
}
