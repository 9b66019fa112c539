//! The id of a request: the caller's, if it is safe to repeat, or a new one.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, request::Parts};
use uuid::Uuid;

use super::Problem;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 64;

#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub fn of(headers: &HeaderMap) -> Self {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match given.filter(|id| !id.is_empty() && id.len() <= LENGTH_MAX && id.bytes().all(safe)) {
            Some(id) => Self(id.into()),
            None => Self(Uuid::now_v7().to_string().into()),
        }
    }

    /// The id that the outermost layer gave.
    pub fn given(extensions: &Extensions, headers: &HeaderMap) -> Self {
        extensions.get::<RequestId>().cloned().unwrap_or_else(|| Self::of(headers))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("request ids are made of safe characters")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::given(&parts.extensions, &parts.headers))
    }
}
