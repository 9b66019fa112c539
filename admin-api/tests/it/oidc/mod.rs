//! Logging in at a real OpenID provider: npm's `oidc-provider` (`CHATBUS_OIDC_DIR`, see `ops/prepare.sh`), or one of our
//! own where that is not installed.

mod browser;
mod provider;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ops::{settings::names, testing::wait_for};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::{
    browser::{Browser, error, login_token},
    provider::{CLIENT_ID, CLIENT_SECRET, Npm, Own},
};
use crate::{
    mailbox::Mailbox,
    world::{Got, PASSWORD, World},
};

const SOON: Duration = Duration::from_secs(20);
const CONSOLE: &str = "https://console.example";
const BOB: &str = "bob@acme.example";

struct Scene {
    world: World,
    mailbox: Mailbox,
    issuer: String,
    _npm: Option<Npm>,
}

/// Where providers send browsers back to: they must know it before there is a service.
struct Callback {
    listen: String,
    redirect: String,
}

impl Callback {
    fn new() -> Self {
        let listen = format!("127.0.0.1:{}", ops::dev::ports::free().unwrap());
        Self { redirect: format!("http://{listen}/v1/auth/oidc/corp/callback"), listen }
    }
}

impl Scene {
    /// With npm's provider where it is installed, otherwise with our own.
    async fn open() -> Self {
        let Some(directory) = std::env::var_os("CHATBUS_OIDC_DIR") else {
            let required = std::env::var_os("CHATBUS_OIDC_REQUIRED").is_some();
            assert!(!required, "npm's oidc-provider is not there: CHATBUS_OIDC_DIR is not set");
            return Self::at(&Own::open().await.issuer, Callback::new()).await;
        };
        let callback = Callback::new();
        let npm = Npm::start(directory, &callback.redirect).await;
        let scene = Self::at(&npm.issuer, callback).await;
        Self { _npm: Some(npm), ..scene }
    }

    async fn at(issuer: &str, callback: Callback) -> Self {
        let providers = json!([{
            "name": "corp", "issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "redirect_uri": callback.redirect,
        }]);
        let mailbox = Mailbox::open().await;
        let nats = ops::dev::ports::free().unwrap();
        let settings = [
            (names::LISTEN, callback.listen.as_str()),
            (names::OIDC_PROVIDERS, &providers.to_string()),
            (names::CONSOLE_URL, CONSOLE),
            (names::SMTP_URL, mailbox.url.as_str()),
        ];
        let world = World::with(format!("nats://127.0.0.1:{nats}"), &settings).await;
        Self { world, mailbox, issuer: issuer.to_owned(), _npm: None }
    }

    /// Bob is invited by the admin of a new tenant, and who is at the provider now.
    async fn invited(&self) {
        let ann = self.world.register("acme").await;
        let bob = json!({ "email": BOB, "name": "Bob", "role": "agent" });
        self.world.post(&ann, "/v1/agents", bob).await.is(201);
        self.become_("b-1", BOB, true).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn who_was_invited_logs_in_at_the_provider() {
    let scene = Scene::open().await;
    scene.invited().await;
    scene.become_("b-1", &BOB.to_uppercase(), true).await;
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
    let scene = Scene::open().await;
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
    let scene = Scene::open().await;
    let world = &scene.world;
    scene.invited().await;

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
    let scene = Scene::open().await;
    let world = &scene.world;
    scene.invited().await;
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
    let scene = Scene::open().await;
    let world = &scene.world;
    scene.invited().await;
    let mut other_tab = world.postgres().await;
    let accepting = other_tab.transaction().await.unwrap();
    accepting.execute("SELECT FROM config.tenants FOR NO KEY UPDATE", &[]).await.unwrap();
    let start = scene.start();
    let this_tab = tokio::spawn(async move { Browser::new().follow(&start).await });
    world.somebody_waits_for_a_lock().await;
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
    let scene = Scene::at(&issuer, Callback::new()).await;
    let start = async || assert_eq!(error(&Browser::new().get(&scene.start()).await), "unavailable");
    start().await;
    let asked = calls.load(Ordering::SeqCst);
    assert!(asked > 0);
    futures::future::join_all((0..10).map(|_| start())).await;
    assert_eq!(calls.load(Ordering::SeqCst), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_to_the_end_also_when_whoever_wanted_to_log_in_hangs_up() {
    let provider = Own::open().await;
    let scene = Scene::at(&provider.issuer, Callback::new()).await;
    let held = provider.hold().await;
    let host = scene.world.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let request = format!("GET /v1/auth/oidc/corp/start HTTP/1.1\r\nhost: {host}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    wait_for(SOON, "the provider to be asked", async || provider.asked() == 1).await;
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // The service ends the connection, and the request with it.
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    drop(held);
    wait_for(SOON, "it to be asked for its keys", async || provider.asked_for_keys() == 1).await;
    scene.invited().await;
    let page = Browser::new().follow(&scene.start()).await;
    scene.complete(&login_token(&page)).await.is(200);
    assert_eq!((provider.asked(), provider.asked_for_keys()), (1, 1));
}
