//! Talking to a provider: where its endpoints are, its keys, and the exchange of a code.
//!
//! Invariant: every answer is bounded in time and bytes, no redirect is followed, what a provider publishes about itself
//! is fetched once for all who wait for it, also when they go away, and no lock is held meanwhile.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use jsonwebtoken::jwk::JwkSet;
use ops::settings::{Settings, names};
use reqwest::{Client, RequestBuilder, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::task::JoinError;

use super::{
    book::{Book, Next},
    config::{self, BadProviders, ProviderConfig, is_safe},
    id_token::{self, BadIdToken, Identity},
};

const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    #[error("the provider cannot be reached: {0}")]
    Away(String),
    #[error("the provider's answer is not understood: {0}")]
    Odd(&'static str),
    /// The service is shutting down.
    #[error("asking the provider was cut short")]
    CutShort,
    #[error("the provider refused the code")]
    Refused,
    #[error("the ID token does not count: {0}")]
    IdToken(#[from] BadIdToken),
}

/// The providers of this installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Providers(Arc<Vec<Provider>>);

impl Providers {
    pub fn from_settings(settings: &Settings) -> Result<Self, BadProviders> {
        let configs = settings.opt_secret(names::OIDC_PROVIDERS).map(config::parse).transpose()?;
        let providers = configs.unwrap_or_default().into_iter().map(Provider::new);
        Ok(Self(Arc::new(providers.collect::<Result<_, _>>()?)))
    }

    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.config.name == name)
    }
}

#[derive(Debug)]
pub struct Provider {
    pub config: ProviderConfig,
    client: Client,
    asked: Arc<Mutex<Asked>>,
}

/// What a provider was asked about itself.
#[derive(Debug, Default)]
struct Asked {
    book: Book<Known, ProviderError>,
    under_way: Option<Asking>,
}

/// One asks, and all wait for what comes of it.
type Asking = Shared<BoxFuture<'static, Result<Known, ProviderError>>>;

/// What a provider says about itself.
#[derive(Debug, Clone)]
struct Known {
    endpoints: Arc<Endpoints>,
    keys: Arc<JwkSet>,
}

#[derive(Debug, Deserialize)]
pub struct Endpoints {
    issuer: String,
    pub authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

impl Provider {
    fn new(config: ProviderConfig) -> Result<Self, BadProviders> {
        let client = Client::builder().timeout(ANSWER_WITHIN).redirect(Policy::none()).build();
        let client = client.map_err(|error| BadProviders(error.to_string()))?;
        Ok(Self { config, client, asked: Arc::default() })
    }

    pub async fn endpoints(&self) -> Result<Arc<Endpoints>, ProviderError> {
        Ok(self.known(false).await?.endpoints)
    }

    /// Who it is that the provider gave this code for.
    pub async fn exchange(&self, code: &str, verifier: &str, nonce: &str) -> Result<Identity, ProviderError> {
        let config = &self.config;
        let known = self.known(false).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &config.redirect_uri),
            ("code_verifier", verifier),
        ];
        let pairs = form.map(|(name, value)| format!("{name}={}", coded(value)));
        let request = self
            .client
            .post(&known.endpoints.token_endpoint)
            .basic_auth(coded(&config.client_id), Some(coded(&config.client_secret)))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(pairs.join("&"));
        let answer: TokenAnswer = answer(request).await?;
        let check = |keys: &JwkSet| {
            id_token::verify(&answer.id_token, keys, &config.issuer, &config.client_id, nonce)
        };
        match check(&known.keys) {
            Err(BadIdToken::UnknownKey) => Ok(check(&self.known(true).await?.keys)?),
            checked => Ok(checked?),
        }
    }

    /// `anew`: something is not in what is known.
    async fn known(&self, anew: bool) -> Result<Known, ProviderError> {
        let asking = {
            let mut asked = lock(&self.asked);
            match asked.book.next(anew, Instant::now()) {
                Next::Use(known) => return Ok(known),
                Next::Fail(error) => return Err(error),
                Next::Ask => asked.under_way.get_or_insert_with(|| self.begin()).clone(),
            }
        };
        asking.await
    }

    /// Asks in a task of its own, which writes down what comes of it: whoever waits may go away at any time.
    fn begin(&self) -> Asking {
        let (client, issuer, asked) = (self.client.clone(), self.config.issuer.clone(), self.asked.clone());
        let task = tokio::spawn(async move {
            let outcome = ask(client, issuer).await;
            let mut asked = lock(&asked);
            asked.under_way = None;
            asked.book.write(outcome.clone(), Instant::now());
            outcome
        });
        let ended = |outcome: Result<_, JoinError>| outcome.unwrap_or(Err(ProviderError::CutShort));
        task.map(ended).boxed().shared()
    }
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(client: Client, issuer: String) -> Result<Known, ProviderError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let endpoints: Endpoints = answer(client.get(url)).await?;
    if endpoints.issuer != issuer {
        return Err(ProviderError::Odd("it calls itself by another issuer"));
    }
    let all = [&endpoints.authorization_endpoint, &endpoints.token_endpoint, &endpoints.jwks_uri];
    if !all.into_iter().all(|url| is_safe(url)) {
        return Err(ProviderError::Odd("an endpoint is not behind https"));
    }
    let keys: JwkSet = answer(client.get(&endpoints.jwks_uri)).await?;
    Ok(Known { endpoints: Arc::new(endpoints), keys: Arc::new(keys) })
}

/// As forms are written, and, by RFC 6749 §2.3.1, ids and secrets in basic authentication.
fn coded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ProviderError> {
    let away = |error: reqwest::Error| ProviderError::Away(error.without_url().to_string());
    let mut response = request.send().await.map_err(away)?;
    if response.status().is_client_error() {
        return Err(ProviderError::Refused);
    }
    if !response.status().is_success() {
        return Err(ProviderError::Away(format!("it answered {}", response.status())));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ProviderError::Odd("it is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|_| ProviderError::Odd("it is not the JSON that was asked for"))
}
