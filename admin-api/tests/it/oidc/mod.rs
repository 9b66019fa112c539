//! Logging in at a real OpenID provider: npm's `oidc-provider`.
//!
//! Where it is not installed (`CHATBUS_OIDC_DIR`, see `ops/prepare.sh`) these tests say so and try nothing.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ops::{settings::names, testing::wait_for};
use reqwest::{Method, header, redirect::Policy};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    mailbox::Mailbox,
    world::{Got, PASSWORD, World},
};

const CONSOLE: &str = "https://console.example";

struct Scene {
    world: World,
    mailbox: Mailbox,
    issuer: String,
    _provider: Child,
    /// It dies when it may not say what it wants.
    _says: Lines<BufReader<ChildStdout>>,
}

/// A browser: cookies, and no redirect followed unseen.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<(String, String), String>,
}

#[derive(Debug)]
struct Page {
    status: u16,
    location: Option<String>,
    body: Value,
}

impl Browser {
    fn new() -> Self {
        Self {
            http: reqwest::Client::builder().redirect(Policy::none()).build().unwrap(),
            cookies: BTreeMap::new(),
        }
    }

    async fn get(&mut self, url: &str) -> Page {
        let url = reqwest::Url::parse(url).unwrap();
        let site = url.authority().to_owned();
        let mine: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == site)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = self.http.get(url.clone()).header(header::COOKIE, mine.join("; "));
        let response = request.send().await.unwrap();
        for set in response.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.insert((site.clone(), name.to_owned()), value.to_owned());
        }
        let location = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
        Page {
            status: response.status().as_u16(),
            location: location.map(|to| url.join(&to).unwrap().to_string()),
            body: response.json().await.unwrap_or_default(),
        }
    }

    /// To the last page that is ours or the provider's, and where it leads.
    async fn follow(&mut self, start: &str) -> Page {
        let mut page = self.get(start).await;
        for _ in 0..10 {
            match page.location.clone().filter(|to| !to.starts_with(CONSOLE)) {
                Some(to) => page = self.get(&to).await,
                None => return page,
            }
        }
        panic!("round and round: {page:?}");
    }
}

impl Scene {
    async fn open() -> Option<Self> {
        let Some(directory) = std::env::var_os("CHATBUS_OIDC_DIR") else {
            eprintln!("npm's oidc-provider is not there (CHATBUS_OIDC_DIR): nothing was tried");
            return None;
        };
        // The provider must know the address of the callback, and admin-api that of the provider.
        let port = ops::dev::ports::free().unwrap();
        let redirect = format!("http://127.0.0.1:{port}/v1/auth/oidc/corp/callback");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/server.mjs");
        let mut provider = Command::new("node")
            .arg(script)
            .arg(directory)
            .arg(&redirect)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(provider.stdout.take().unwrap()).lines();
        let issuer = lines.next_line().await.unwrap().expect("the provider's issuer");
        let providers = json!([{
            "name": "corp", "issuer": issuer, "client_id": "chatbus", "client_secret": "a secret: +/&=%",
            "redirect_uri": redirect,
        }]);
        let mailbox = Mailbox::open().await;
        let nats = ops::dev::ports::free().unwrap();
        let listen = format!("127.0.0.1:{port}");
        let settings = [
            (names::LISTEN, listen.as_str()),
            (names::OIDC_PROVIDERS, &providers.to_string()),
            (names::CONSOLE_URL, CONSOLE),
            (names::SMTP_URL, mailbox.url.as_str()),
        ];
        let world = World::with(format!("nats://127.0.0.1:{nats}"), &settings).await;
        Some(Self { world, mailbox, issuer, _provider: provider, _says: lines })
    }

    async fn become_(&self, sub: &str, email: &str, verified: bool) {
        let person = json!({ "sub": sub, "email": email, "email_verified": verified });
        self.world.http.put(&self.issuer).json(&person).send().await.unwrap();
    }

    fn start(&self) -> String {
        format!("{}/v1/auth/oidc/corp/start", self.world.url)
    }

    async fn complete(&self, token: &str) -> Got {
        self.world.public("/v1/auth/login/mfa", json!({ "login_token": token })).await
    }
}

fn login_token(page: &Page) -> String {
    let to = page.location.as_deref().unwrap_or_else(|| panic!("no way on: {page:?}"));
    let (console, token) = to.split_once("/login#login_token=").unwrap();
    assert_eq!(console, CONSOLE);
    token.to_owned()
}

/// What went wrong, as the console is told.
fn error(page: &Page) -> &str {
    assert_eq!(page.status, 303, "{page:?}");
    let to = page.location.as_deref().unwrap_or_default();
    to.strip_prefix(CONSOLE)
        .and_then(|to| to.strip_prefix("/login#error="))
        .unwrap_or_else(|| panic!("{page:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_invited_logs_in_at_the_provider() {
    let Some(scene) = Scene::open().await else { return };
    let world = &scene.world;
    let ann = world.register("acme").await;
    let bob = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    world.post(&ann, "/v1/agents", bob).await.is(201);
    scene.become_("b-1", "BOB@acme.example", true).await;
    let mut browser = Browser::new();
    let page = browser.follow(&scene.start()).await;
    assert_eq!(page.status, 303);
    let token = login_token(&page);
    let got = scene.complete(&token).await.is(200);
    assert_eq!(got.body["agent"]["name"], "Bob");
    scene.complete(&token).await.problem(401, "unauthenticated");
    // From now on it is the identity that counts, whatever its address.
    scene.become_("b-1", "robert@elsewhere.example", false).await;
    let page = Browser::new().follow(&scene.start()).await;
    assert_eq!(scene.complete(&login_token(&page)).await.is(200).body["agent"]["name"], "Bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_somebody_elses_account() {
    let Some(scene) = Scene::open().await else { return };
    let world = &scene.world;
    let ann = world.register("acme").await;
    for (sub, email, verified) in [
        ("x-1", "stranger@acme.example", true),
        ("x-2", ann.email.as_str(), false),
        // Ann's address was never proved: whoever registered it may be somebody else.
        ("x-3", ann.email.as_str(), true),
    ] {
        scene.become_(sub, email, verified).await;
        let page = Browser::new().follow(&scene.start()).await;
        assert_eq!(error(&page), "forbidden", "{sub}");
    }
    world.public("/v1/auth/password/forgot", json!({ "email": ann.email })).await.is(204);
    let token = scene.mailbox.nth(&ann.email, 0).await.token();
    world.public("/v1/auth/password/reset", json!({ "token": token, "password": PASSWORD })).await.is(204);
    let page = Browser::new().follow(&scene.start()).await;
    assert_eq!(scene.complete(&login_token(&page)).await.is(200).body["agent"]["email"], ann.email.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_in_the_browser_that_began_it_and_once() {
    let Some(scene) = Scene::open().await else { return };
    let world = &scene.world;
    let ann = world.register("acme").await;
    let bob = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    world.post(&ann, "/v1/agents", bob).await.is(201);
    scene.become_("b-1", "bob@acme.example", true).await;

    // As far as the provider sends it back, and then in another browser.
    let mut browser = Browser::new();
    let mut to = browser.get(&scene.start()).await.location.unwrap();
    for needed in ["response_type=code", "code_challenge_method=S256", "nonce=", "state=cbo_"] {
        assert!(to.contains(needed), "{to}");
    }
    while !to.starts_with(&world.url) {
        to = browser.get(&to).await.location.unwrap();
    }
    let stolen = Browser::new().get(&to).await;
    assert_eq!(error(&stolen), "unauthenticated");
    // A link with a login of somebody else does not end one's own.
    let planted = format!("{}/v1/auth/oidc/corp/callback?state=cbo_x&code=y", world.url);
    assert_eq!(error(&browser.get(&planted).await), "unauthenticated");
    let page = browser.get(&to).await;
    let token = login_token(&page);
    let again = browser.get(&to).await;
    assert_eq!(error(&again), "unauthenticated", "a callback counts once");
    scene.complete(&token).await.is(200);

    for path in ["/v1/auth/oidc/nobody/start", "/v1/auth/oidc/nobody/callback?state=x&code=y"] {
        world.send(world.request(Method::GET, path)).await.problem(404, "not_found");
    }
    let forged = format!("{}/v1/auth/oidc/corp/callback?state=cbo_x&code=y", world.url);
    let mut browser = Browser::new();
    let site = reqwest::Url::parse(&world.url).unwrap().authority().to_owned();
    browser.cookies.insert((site, "chatbus_oidc".to_owned()), "cbo_x".to_owned());
    assert_eq!(error(&browser.get(&forged).await), "unauthenticated");
    // What the provider says when somebody changes their mind.
    let mut browser = Browser::new();
    let to = browser.get(&scene.start()).await.location.unwrap();
    let state = to.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let denied = format!("{}/v1/auth/oidc/corp/callback?state={state}&error=access_denied", world.url);
    assert_eq!(error(&browser.get(&denied).await), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_on_in_the_page_that_began_it_and_no_planted_one() {
    let Some(scene) = Scene::open().await else { return };
    let world = &scene.world;
    let ann = world.register("acme").await;
    let bob = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    world.post(&ann, "/v1/agents", bob).await.is(201);
    scene.become_("b-1", "bob@acme.example", true).await;
    let secret = "what the console keeps to itself";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secret));
    let bound = format!("{}?challenge={challenge}", scene.start());
    let with = async |token: &str, verifier: &str| {
        let body = json!({ "login_token": token, "verifier": verifier });
        world.public("/v1/auth/login/mfa", body).await
    };
    let token = login_token(&Browser::new().follow(&bound).await);
    scene.complete(&token).await.problem(401, "unauthenticated");
    with(&token, "another secret").await.problem(401, "unauthenticated");
    with(&token, secret).await.is(200);
    // One that somebody else began without a challenge is not taken for one's own.
    let planted = login_token(&Browser::new().follow(&scene.start()).await);
    with(&planted, secret).await.problem(401, "unauthenticated");
    scene.complete(&planted).await.is(200);
    let bad = format!("{}?challenge=x", scene.start());
    assert_eq!(Browser::new().get(&bad).await.body["errors"][0]["pointer"], "/query/challenge");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_accepted_in_another_tab_meanwhile_is_no_reason_to_refuse() {
    let Some(scene) = Scene::open().await else { return };
    let world = &scene.world;
    let ann = world.register("acme").await;
    let bob = json!({ "email": "bob@acme.example", "name": "Bob", "role": "agent" });
    world.post(&ann, "/v1/agents", bob).await.is(201);
    scene.become_("b-1", "bob@acme.example", true).await;
    let mut other_tab = world.postgres().await;
    let accepting = other_tab.transaction().await.unwrap();
    accepting.execute("SELECT FROM config.tenants FOR NO KEY UPDATE", &[]).await.unwrap();
    let start = scene.start();
    let this_tab = tokio::spawn(async move { Browser::new().follow(&start).await });
    let waiting = "SELECT FROM pg_locks WHERE NOT granted";
    let watch = world.postgres().await;
    wait_for(Duration::from_secs(20), "the login to wait for the tenant", async || {
        !watch.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    accepting.execute("UPDATE config.agents SET invited_at = NULL", &[]).await.unwrap();
    accepting.commit().await.unwrap();
    let token = login_token(&this_tab.await.unwrap());
    assert_eq!(scene.complete(&token).await.is(200).body["agent"]["name"], "Bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_not_asked_by_everybody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    // It takes every call, and hangs up.
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
    });
    let providers = json!([{
        "name": "corp", "issuer": issuer, "client_id": "chatbus", "client_secret": "s",
        "redirect_uri": "http://127.0.0.1:1/v1/auth/oidc/corp/callback",
    }]);
    let nats = ops::dev::ports::free().unwrap();
    let providers = providers.to_string();
    let world = World::with(format!("nats://127.0.0.1:{nats}"), &[(names::OIDC_PROVIDERS, &providers)]).await;
    let start = async || world.send(world.request(Method::GET, "/v1/auth/oidc/corp/start")).await;
    start().await.problem(503, "unavailable");
    let asked = calls.load(Ordering::SeqCst);
    assert!(asked > 0);
    futures::future::join_all((0..10).map(|_| start())).await.into_iter().for_each(|got| {
        got.problem(503, "unavailable");
    });
    assert_eq!(calls.load(Ordering::SeqCst), asked);
}
