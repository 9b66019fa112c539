//! Calling the HTTP API from tools.
//!
//! What is only briefly away is asked again a bounded number of times; everything else is told as it was answered.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(20);
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// One service, and who asks it.
#[derive(Debug)]
pub struct Http {
    client: Client,
    base: String,
    token: Option<String>,
}

/// An answer with its body as JSON; `null` when it has none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    pub body: Value,
}

impl Http {
    pub fn new(base: &str) -> anyhow::Result<Self> {
        // What runs on this machine is never behind a proxy.
        let client =
            Client::builder().no_proxy().timeout(TIMEOUT).build().context("cannot make an HTTP client")?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), token: None })
    }

    /// From now on requests carry this bearer token.
    pub fn authorize(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.request(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.request(Method::POST, path, Some(body), None).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.request(Method::DELETE, path, None, None).await
    }

    /// Changes what is still as `etag` says.
    pub async fn patch(&self, path: &str, body: &Value, etag: &str) -> anyhow::Result<Answer> {
        self.request(Method::PATCH, path, Some(body), Some(etag)).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Some(etag) = etag {
                request = request.header("if-match", etag);
            }
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            match request.send().await {
                Ok(answer) if tries < TRIES && answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                Ok(answer) => return read(answer).await.with_context(|| format!("{method} {path}")),
                Err(error) if tries < TRIES && error.is_connect() => {}
                Err(error) => return Err(error).with_context(|| format!("{method} {path}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn read(answer: reqwest::Response) -> anyhow::Result<Answer> {
    let status = answer.status().as_u16();
    let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let bytes = answer.bytes().await?;
    Ok(Answer { status, etag, body: serde_json::from_slice(&bytes).unwrap_or_default() })
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// This answer, unless it is an error; `what` says what was tried.
    pub fn ok(self, what: &str) -> anyhow::Result<Self> {
        if self.is_ok() { Ok(self) } else { bail!("{what}: {self}") }
    }

    /// The text at a JSON pointer.
    pub fn text_at(&self, pointer: &str) -> anyhow::Result<String> {
        let text = self.body.pointer(pointer).and_then(Value::as_str);
        Ok(text.with_context(|| format!("the answer has no {pointer}"))?.to_owned())
    }
}

/// The status and, of a problem, what it says; never what was sent.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for field in ["code", "detail", "errors"] {
            if let Some(value) = self.body.get(field) {
                write!(f, " {field}: {value}")?;
            }
        }
        Ok(())
    }
}
