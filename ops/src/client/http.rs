//! The HTTP side of a client: the widget's session at an edge, and admin-api as staff use it.

use std::time::Duration;

use bus_schema::{
    AgentId,
    protocol::{WidgetSession, WidgetSessionAnswer},
};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(15);
/// Rounds over all edges before a session is given up.
const SESSION_ROUNDS: u32 = 4;
const ROUND_WAIT: Duration = Duration::from_millis(250);

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The server said no (RFC 9457).
    #[error("{status} {code}: {detail}")]
    Problem { status: u16, code: String, detail: String, body: Value },
    #[error("{0}")]
    Transport(String),
}

impl ApiError {
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem { code, .. } => Some(code),
            Self::Transport(_) => None,
        }
    }

    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { status, .. } => Some(*status),
            Self::Transport(_) => None,
        }
    }

    /// Another edge, or the same one later, may answer.
    pub fn is_transient(&self) -> bool {
        self.status().is_none_or(may_pass)
    }
}

/// Whether what a server refused with this status may succeed at another, or later.
pub(super) const fn may_pass(status: u16) -> bool {
    status >= 500 || status == 408 || status == 429
}

impl From<reqwest::Error> for ApiError {
    fn from(error: reqwest::Error) -> Self {
        use std::error::Error;
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Transport(text)
    }
}

/// Answer to a staff login.
#[derive(Debug, Clone, Deserialize)]
pub struct StaffSession {
    #[serde(flatten)]
    pub tokens: StaffTokens,
    pub agent: StaffAgent,
    #[serde(default)]
    pub tenant: Value,
}

/// Answer to a refresh, and part of that to a login.
#[derive(Debug, Clone, Deserialize)]
pub struct StaffTokens {
    pub access_token: String,
    /// Good once: the next answer brings the next one.
    pub refresh_token: String,
    /// In seconds.
    pub expires_in: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct StaffAgent {
    pub id: AgentId,
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// Calls over HTTP, with connections that are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    pub fn new() -> Result<Self, ApiError> {
        Ok(Self { client: reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()? })
    }

    /// Opens a widget session at the first edge that answers, from `first` on.
    pub async fn widget_session(
        &self,
        edges: &[String],
        first: usize,
        session: &WidgetSession,
    ) -> Result<WidgetSessionAnswer, ApiError> {
        let mut last = ApiError::Transport("no edge to ask".into());
        for round in 0..SESSION_ROUNDS {
            if round > 0 {
                tokio::time::sleep(ROUND_WAIT * 2_u32.pow(round)).await;
            }
            for at in 0..edges.len() {
                let edge = &edges[(first + at) % edges.len()];
                let url = format!("{edge}/v1/widget/session");
                match self.call(Method::POST, &url, None, Some(session)).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) if error.is_transient() => last = error,
                    Err(error) => return Err(error),
                }
            }
        }
        Err(last)
    }

    pub async fn staff_login(
        &self,
        admin: &str,
        email: &str,
        password: &str,
    ) -> Result<StaffSession, ApiError> {
        #[derive(Serialize)]
        struct Login<'a> {
            email: &'a str,
            password: &'a str,
        }
        self.call(Method::POST, &format!("{admin}/v1/auth/login"), None, Some(&Login { email, password }))
            .await
    }

    pub async fn staff_refresh(&self, admin: &str, refresh_token: &str) -> Result<StaffTokens, ApiError> {
        let body = serde_json::json!({ "refresh_token": refresh_token });
        self.call(Method::POST, &format!("{admin}/v1/auth/refresh"), None, Some(&body)).await
    }

    pub async fn get<T: DeserializeOwned>(&self, url: &str, token: &str) -> Result<T, ApiError> {
        self.call::<(), T>(Method::GET, url, Some(token), None).await
    }

    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        url: &str,
        token: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        self.call(Method::POST, url, Some(token), Some(body)).await
    }

    /// Any call; an empty answer reads as `null`.
    pub async fn call<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&B>,
    ) -> Result<T, ApiError> {
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        if !status.is_success() {
            return Err(problem(status, &bytes));
        }
        let bytes = if bytes.is_empty() { b"null" } else { bytes.as_ref() };
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::Transport(format!("answer of {url}: {error}")))
    }
}

fn problem(status: StatusCode, bytes: &[u8]) -> ApiError {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    ApiError::Problem {
        status: status.as_u16(),
        code: text("code").unwrap_or_default(),
        detail: text("detail")
            .or_else(|| text("title"))
            .unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()),
        body,
    }
}
