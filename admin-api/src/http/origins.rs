//! Which pages' scripts may call this API.
//!
//! Invariant: an origin is allowed if a setting or some tenant's console list names it, and by nothing else; a
//! token of another tenant still opens nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use diesel::{ExpressionMethods as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use http::{HeaderName, HeaderValue, Method, header};
use ops::settings::{Settings, names};
use persister::db::{DbError, Pool, schema::config::tenants};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id;
use crate::routes::{APPLIED_SEQ, REPLAYED};

/// How long browsers remember an answer.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
pub struct Origins {
    settings: Arc<BTreeSet<String>>,
    tenants: Arc<RwLock<BTreeSet<String>>>,
}

impl Origins {
    pub fn from_settings(settings: &Settings) -> Self {
        let listed = settings.list(names::CORS_ORIGINS).iter().cloned();
        let console = origin_of(settings.text(names::CONSOLE_URL));
        Self { settings: Arc::new(listed.chain(console).collect()), tenants: Arc::default() }
    }

    pub fn allows(&self, origin: &str) -> bool {
        self.settings.contains(origin)
            || self.tenants.read().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }

    /// Reads the tenants' lists anew.
    pub async fn refresh(&self, pool: &Pool) -> Result<(), DbError> {
        let mut connection = pool.get().await?;
        let lists: Vec<Vec<String>> = tenants::table
            .filter(tenants::deleted_at.is_null())
            .select(tenants::console_origins)
            .load(&mut connection)
            .await?;
        let all = lists.into_iter().flatten().collect();
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{host}"))
}

pub fn cors(origins: Origins) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, _: &http::request::Parts| {
        origin.to_str().is_ok_and(|origin| origins.allows(origin))
    };
    let idempotency = HeaderName::from_static("idempotency-key");
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            idempotency,
            request_id::HEADER,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            request_id::HEADER,
            HeaderName::from_static(APPLIED_SEQ),
            HeaderName::from_static(REPLAYED),
        ])
        .max_age(PREFLIGHT_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_part_of_a_url_before_its_path() {
        assert_eq!(origin_of("https://a.example:8443/console?x"), Some("https://a.example:8443".to_owned()));
        assert_eq!(origin_of("nonsense"), None);
    }
}
