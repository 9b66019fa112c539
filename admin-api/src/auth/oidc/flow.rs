//! `GET /v1/auth/oidc/{provider}/start` and `/callback`.
//!
//! The browser comes back to the console with a `login_token` behind `#`, which goes on at `POST /v1/auth/login/mfa`; or
//! with an `error`, a code of ours. Access tokens travel in no URL.
//!
//! Invariant: a login comes back to the browser that began it (by a cookie), and goes on in the page that began it (by
//! its challenge, where it gave one).

use std::time::Duration;

use axum::{
    extract::{RawPathParams, State},
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorCode, TenantId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use persister::db::{At, Id, schema::config::oidc_logins};
use serde::Deserialize;

use super::{
    bind::bind,
    challenge,
    provider::{Provider, ProviderError},
};
use crate::{
    app::App,
    auth::{enter::open_for, secret},
    clock,
    http::{Peer, Problem, Query, RequestId},
    metrics,
};

/// How long somebody may take at the provider.
const AT_PROVIDER_FOR: Duration = Duration::from_secs(10 * 60);
const COOKIE: &str = "chatbus_oidc";
const CODE_BYTES_MAX: usize = 4096;
const PROVIDER_AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcStart {
    /// Which tenant, for an account in several.
    #[serde(default)]
    tenant_id: Option<TenantId>,
    /// The SHA-256, in base64url, of a secret that whoever completes the login must know.
    #[serde(default)]
    challenge: Option<String>,
}

fn provider<'a>(app: &'a App, params: &RawPathParams) -> Result<&'a Provider, Problem> {
    let name = params.iter().find(|(name, _)| *name == "provider").map(|(_, value)| value);
    name.and_then(|name| app.providers.get(name)).ok_or_else(Problem::not_found)
}

/// Sends the browser to the provider.
pub async fn oidc_start(
    State(app): State<App>,
    peer: Peer,
    params: RawPathParams,
    Query(query): Query<OidcStart>,
) -> Result<Response, Problem> {
    let provider = provider(&app, &params)?;
    if query.challenge.as_deref().is_some_and(|challenge| !challenge::is_one(challenge)) {
        return Err(Problem::malformed("/query/challenge", "must be a SHA-256 in base64url, unpadded"));
    }
    match begin(&app, peer, provider, query).await {
        Ok((to, state)) => redirect(&to, Some(&cookie(provider, &state, AT_PROVIDER_FOR))),
        Err(problem) => {
            metrics::login("oidc", problem.body.code.name());
            redirect(&console(&app, &failed(&problem)), None)
        }
    }
}

/// Where the browser goes, and the state that it comes back with.
async fn begin(
    app: &App,
    peer: Peer,
    provider: &Provider,
    query: OidcStart,
) -> Result<(String, String), Problem> {
    app.budgets.take_cheap(peer)?;
    let endpoints = provider.endpoints().await.map_err(|error| refused(&error))?;
    let (state, nonce, verifier) =
        (secret::generate(secret::Purpose::OidcState), secret::random(), secret::random());
    diesel::insert_into(oidc_logins::table)
        .values((
            oidc_logins::hash.eq(secret::hash(&state)),
            oidc_logins::provider.eq(&provider.config.name),
            oidc_logins::nonce.eq(&nonce),
            oidc_logins::verifier.eq(&verifier),
            oidc_logins::tenant_id.eq(query.tenant_id.map(Id)),
            oidc_logins::challenge.eq(query.challenge),
            oidc_logins::expires_at.eq(At(clock::now().plus(AT_PROVIDER_FOR))),
        ))
        .execute(&mut app.pool.get().await?)
        .await?;
    let config = &provider.config;
    let mut url = reqwest::Url::parse(&endpoints.authorization_endpoint)
        .map_err(|error| Problem::fault("read a provider's endpoint", &error))?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &config.client_id)
        .append_pair("redirect_uri", &config.redirect_uri)
        .append_pair("scope", &config.scopes.join(" "))
        .append_pair("state", &state)
        .append_pair("nonce", &nonce)
        .append_pair("code_challenge", &challenge::of(&verifier))
        .append_pair("code_challenge_method", "S256");
    Ok((url.into(), state))
}

#[derive(Debug, Deserialize)]
pub struct OidcCallback {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: Option<String>,
}

#[derive(Queryable)]
struct Login {
    nonce: String,
    verifier: String,
    tenant: Option<Id<TenantId>>,
    challenge: Option<String>,
    expires_at: At,
}

/// Takes the browser back from the provider.
pub async fn oidc_callback(
    State(app): State<App>,
    peer: Peer,
    request_id: RequestId,
    params: RawPathParams,
    headers: HeaderMap,
    Query(query): Query<OidcCallback>,
) -> Result<Response, Problem> {
    let provider = provider(&app, &params)?;
    let began_here = cookies(&headers).any(|value| !value.is_empty() && value == query.state);
    let answer = come_back(&app, peer, &request_id, provider, began_here, query).await;
    let (outcome, says) = match answer {
        Ok(token) => ("ok", format!("login_token={token}")),
        Err(problem) => (problem.body.code.name(), failed(&problem)),
    };
    metrics::login("oidc", outcome);
    let to = console(&app, &says);
    // What somebody else began says nothing about the login that this browser is in.
    let over = began_here.then(|| cookie(provider, "", Duration::ZERO));
    redirect(&to, over.as_deref())
}

/// A person looks at this: the console can say more than a bare problem.
fn failed(problem: &Problem) -> String {
    format!("error={}", problem.body.code)
}

fn console(app: &App, says: &str) -> String {
    format!("{}/login#{says}", app.console.trim_end_matches('/'))
}

async fn come_back(
    app: &App,
    peer: Peer,
    request_id: &RequestId,
    provider: &Provider,
    began_here: bool,
    query: OidcCallback,
) -> Result<String, Problem> {
    app.budgets.take_cheap(peer)?;
    if !began_here || query.state.len() > secret::LENGTH_MAX {
        return Err(over());
    }
    let login: Option<Login> = diesel::delete(oidc_logins::table.find(secret::hash(&query.state)))
        .filter(oidc_logins::provider.eq(&provider.config.name))
        .returning((
            oidc_logins::nonce,
            oidc_logins::verifier,
            oidc_logins::tenant_id,
            oidc_logins::challenge,
            oidc_logins::expires_at,
        ))
        .get_result(&mut app.pool.get().await?)
        .await
        .optional()?;
    let login = login.filter(|login| login.expires_at.0 > clock::now()).ok_or_else(over)?;
    let code = query.code.filter(|code| code.len() <= CODE_BYTES_MAX).ok_or_else(|| {
        Problem::new(ErrorCode::Unauthenticated, "the provider did not log you in: start again")
    })?;
    let identity =
        provider.exchange(&code, &login.verifier, &login.nonce).await.map_err(|error| refused(&error))?;
    let account = bind(app, &provider.config.name, &identity, request_id).await?;
    open_for(app, account, login.tenant.map(|id| id.0), login.challenge).await
}

fn over() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "this login is over, or began in another browser: start again")
}

fn refused(error: &ProviderError) -> Problem {
    tracing::warn!(%error, "a login at a provider failed");
    match error {
        ProviderError::Away(_) | ProviderError::Odd(_) | ProviderError::CutShort => {
            Problem::unavailable("the provider cannot be reached now", PROVIDER_AGAIN_AFTER)
        }
        ProviderError::Refused | ProviderError::IdToken(_) => {
            Problem::new(ErrorCode::Unauthenticated, "the provider's answer does not count: start again")
        }
    }
}

fn cookie(provider: &Provider, value: &str, life: Duration) -> String {
    let secure = if provider.config.redirect_uri.starts_with("https://") { "; Secure" } else { "" };
    let (name, seconds) = (&provider.config.name, life.as_secs());
    format!("{COOKIE}={value}; Path=/v1/auth/oidc/{name}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn redirect(to: &str, cookie: Option<&str>) -> Result<Response, Problem> {
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|error| Problem::fault("write a redirect's header", &error))
    };
    let mut headers = HeaderMap::from_iter([(header::LOCATION, value(to)?)]);
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, value(cookie)?);
    }
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
