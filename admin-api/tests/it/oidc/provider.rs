//! OpenID providers: npm's `oidc-provider`, and one in this process that does as much as a login needs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Redirect,
    routing::{get, post, put},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ops::auth::{Forger, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    sync::OwnedMutexGuard,
};
use uuid::Uuid;

pub const CLIENT_ID: &str = "chatbus";
pub const CLIENT_SECRET: &str = "a secret: +/&=%";

/// npm's, in a process of its own.
pub struct Npm {
    pub issuer: String,
    _process: Child,
    /// It dies when it may not say what it wants.
    _says: Lines<BufReader<ChildStdout>>,
}

impl Npm {
    /// `directory`: where its `node_modules` are.
    pub async fn start(directory: OsString, redirect: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/server.mjs");
        let mut process = Command::new("node")
            .arg(script)
            .arg(directory)
            .arg(redirect)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let issuer = lines.next_line().await.unwrap().expect("the provider's issuer");
        Self { issuer, _process: process, _says: lines }
    }
}

/// Our own: whoever was named last, by a PUT, is logged in already.
#[derive(Clone)]
pub struct Own {
    pub issuer: String,
    key: SigningKey,
    person: Arc<Mutex<Value>>,
    /// What `/authorize` was asked, by the code that it gave.
    codes: Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>,
    asked: Arc<AtomicUsize>,
    asked_for_keys: Arc<AtomicUsize>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Own {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            key: SigningKey::generate().unwrap(),
            person: Arc::default(),
            codes: Arc::default(),
            asked: Arc::default(),
            asked_for_keys: Arc::default(),
            gate: Arc::default(),
        };
        let routes = Router::new()
            .route("/", put(become_))
            .route("/.well-known/openid-configuration", get(about))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(own.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        own
    }

    /// It does not say where its endpoints are until this is dropped.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        self.gate.clone().lock_owned().await
    }

    /// How often it was asked where its endpoints are.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn asked_for_keys(&self) -> usize {
        self.asked_for_keys.load(Ordering::SeqCst)
    }
}

async fn become_(State(own): State<Own>, Json(person): Json<Value>) {
    *own.person.lock().unwrap() = person;
}

async fn about(State(own): State<Own>) -> Json<Value> {
    own.asked.fetch_add(1, Ordering::SeqCst);
    drop(own.gate.lock().await);
    let at = |path: &str| format!("{}/{path}", own.issuer);
    Json(json!({
        "issuer": own.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
        "jwks_uri": at("jwks"),
    }))
}

async fn keys(State(own): State<Own>) -> Json<Value> {
    own.asked_for_keys.fetch_add(1, Ordering::SeqCst);
    let key: Value = serde_json::from_slice(&own.key.public().to_json()).unwrap();
    Json(json!({ "keys": [key] }))
}

fn form(text: &str) -> BTreeMap<String, String> {
    reqwest::Url::parse(&format!("http://form/?{text}")).unwrap().query_pairs().into_owned().collect()
}

async fn authorize(State(own): State<Own>, uri: Uri) -> Redirect {
    let asked = form(uri.query().unwrap());
    assert_eq!((asked["client_id"].as_str(), asked["code_challenge_method"].as_str()), (CLIENT_ID, "S256"));
    let code = Uuid::now_v7().to_string();
    let back = format!("{}?state={}&code={code}", asked["redirect_uri"], asked["state"]);
    own.codes.lock().unwrap().insert(code, asked);
    Redirect::to(&back)
}

/// As RFC 6749 and RFC 7636 have it: a code counts once, for the client and with the verifier that it was made for.
async fn token(State(own): State<Own>, headers: HeaderMap, body: String) -> Result<Json<Value>, StatusCode> {
    let refused = StatusCode::BAD_REQUEST;
    let given = form(&body);
    let asked = own.codes.lock().unwrap().remove(&given["code"]).ok_or(refused)?;
    let basic = headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    let client = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    let client = form(&format!("client={}", client.replacen(':', "&secret=", 1)));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&given["code_verifier"]));
    let counts = (client["client"].as_str(), client["secret"].as_str()) == (CLIENT_ID, CLIENT_SECRET)
        && challenge == asked["code_challenge"]
        && given["redirect_uri"] == asked["redirect_uri"];
    if !counts {
        return Err(refused);
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut claims = own.person.lock().unwrap().clone();
    claims["iss"] = json!(own.issuer);
    claims["aud"] = json!(CLIENT_ID);
    claims["nonce"] = json!(asked["nonce"]);
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 60);
    let forger = Forger::new(&own.key);
    let id_token = forger.sign(&json!({ "alg": "EdDSA", "kid": forger.kid() }), &claims);
    Ok(Json(json!({ "access_token": "unused", "token_type": "Bearer", "id_token": id_token })))
}
