//! Talking to a provider: where its endpoints are, its keys, and the exchange of a code.
//!
//! Invariant: every answer is bounded in time and bytes, no redirect is followed, and what a provider publishes about
//! itself is fetched once and anew only when a key is not in it, at most once a minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::jwk::JwkSet;
use ops::settings::{Settings, names};
use reqwest::{Client, RequestBuilder, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use super::{
    config::{self, BadProviders, ProviderConfig, is_safe},
    id_token::{self, BadIdToken, Identity},
};

const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const KEYS_ANEW_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("the provider cannot be reached: {0}")]
    Away(String),
    #[error("the provider's answer is not understood: {0}")]
    Odd(&'static str),
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
    known: Mutex<Option<Known>>,
}

/// What a provider says about itself.
#[derive(Debug, Clone)]
struct Known {
    endpoints: Arc<Endpoints>,
    keys: Arc<JwkSet>,
    keys_at: Instant,
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
        Ok(Self { config, client, known: Mutex::default() })
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

    async fn known(&self, anew: bool) -> Result<Known, ProviderError> {
        // One fetches, and the others wait for what it finds.
        let mut known = self.known.lock().await;
        if let Some(known) = &*known
            && !(anew && known.keys_at.elapsed() >= KEYS_ANEW_EVERY)
        {
            return Ok(known.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let endpoints: Endpoints = answer(self.client.get(url)).await?;
        if endpoints.issuer != self.config.issuer {
            return Err(ProviderError::Odd("it calls itself by another issuer"));
        }
        let all = [&endpoints.authorization_endpoint, &endpoints.token_endpoint, &endpoints.jwks_uri];
        if !all.into_iter().all(|url| is_safe(url)) {
            return Err(ProviderError::Odd("an endpoint is not behind https"));
        }
        let keys: JwkSet = answer(self.client.get(&endpoints.jwks_uri)).await?;
        let found = Known { endpoints: Arc::new(endpoints), keys: Arc::new(keys), keys_at: Instant::now() };
        *known = Some(found.clone());
        Ok(found)
    }
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
