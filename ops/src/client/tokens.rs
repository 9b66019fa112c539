//! Where a client gets its token from.
//!
//! Invariant: a token is fetched when there is none, when the server wants a fresh one, or shortly before its end;
//! never more than one at a time.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{Timestamp, protocol::WidgetSession};
use reqwest::StatusCode;
use tokio::sync::Mutex;

use super::http::{ApiError, Http};

/// A token this close to its end is not used any more.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// A source of tokens; clones share it.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

struct Shared {
    source: Source,
    held: Mutex<Option<Held>>,
}

enum Source {
    Fixed(String),
    Visitor { http: Http, edges: Vec<String>, session: WidgetSession },
    Staff { http: Http, admin: String, email: String, password: String },
}

struct Held {
    token: String,
    refresh: Option<String>,
    good_until: Instant,
}

impl Tokens {
    /// One token, for ever.
    pub fn fixed(token: impl Into<String>) -> Self {
        Self::new(Source::Fixed(token.into()), None)
    }

    /// A visitor's: renewed by opening the same session again, without its first message.
    pub fn visitor(
        http: Http,
        edges: Vec<String>,
        session: &WidgetSession,
        first: Option<(String, Timestamp)>,
    ) -> Self {
        let session = WidgetSession { initial_message: None, initial_client_id: None, ..session.clone() };
        let held = first.map(|(token, expires_at)| {
            let left = expires_at.since(Timestamp::from_millis(now_ms()));
            Held { token, refresh: None, good_until: Instant::now() + left }
        });
        Self::new(Source::Visitor { http, edges, session }, held)
    }

    /// A person's: by e-mail and password, then by refresh token.
    pub fn staff(http: Http, admin: &str, email: &str, password: &str) -> Self {
        let (admin, email, password) = (admin.to_owned(), email.to_owned(), password.to_owned());
        Self::new(Source::Staff { http, admin, email, password }, None)
    }

    fn new(source: Source, held: Option<Held>) -> Self {
        Self(Arc::new(Shared { source, held: Mutex::new(held) }))
    }

    /// A token; `fresh`: not the one that was handed out last.
    pub async fn get(&self, fresh: bool) -> Result<String, ApiError> {
        if let Source::Fixed(token) = &self.0.source {
            return Ok(token.clone());
        }
        let mut held = self.0.held.lock().await;
        if let Some(held) = held.as_ref()
            && !fresh
            && Instant::now() + RENEW_BEFORE < held.good_until
        {
            return Ok(held.token.clone());
        }
        let renewed = self.0.source.fetch(held.as_ref().and_then(|held| held.refresh.as_deref())).await?;
        Ok(held.insert(renewed).token.clone())
    }
}

impl Source {
    async fn fetch(&self, refresh: Option<&str>) -> Result<Held, ApiError> {
        match self {
            Source::Fixed(token) => {
                Ok(Held { token: token.clone(), refresh: None, good_until: Instant::now() })
            }
            Source::Visitor { http, edges, session } => {
                let answer = http.widget_session(edges, 0, session).await?;
                let left = answer.token_expires_at.since(Timestamp::from_millis(now_ms()));
                Ok(Held { token: answer.token, refresh: None, good_until: Instant::now() + left })
            }
            Source::Staff { http, admin, email, password } => {
                let refreshed = match refresh {
                    Some(token) => match http.staff_refresh(admin, token).await {
                        // The session has ended. Whatever else went wrong says nothing of it.
                        Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED.as_u16()) => None,
                        answer => Some(answer?),
                    },
                    None => None,
                };
                let tokens = match refreshed {
                    Some(tokens) => tokens,
                    None => http.staff_login(admin, email, password).await?.tokens,
                };
                let good_until = Instant::now() + Duration::from_secs(tokens.expires_in);
                Ok(Held { token: tokens.access_token, refresh: Some(tokens.refresh_token), good_until })
            }
        }
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.source {
            Source::Fixed(_) => "Tokens::Fixed",
            Source::Visitor { .. } => "Tokens::Visitor",
            Source::Staff { .. } => "Tokens::Staff",
        })
    }
}
