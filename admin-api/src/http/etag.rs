//! Answers with an ETag, and requests that name one.
//!
//! The tag is the revision of the row, so it changes exactly when the row does.

use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use bus_schema::ErrorCode;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;

use super::Problem;

/// A thing with its revision.
#[derive(Debug)]
pub struct Tagged<T> {
    pub status: StatusCode,
    pub revision: i64,
    pub location: Option<String>,
    pub body: T,
}

impl<T> Tagged<T> {
    pub fn ok(revision: i64, body: T) -> Self {
        Self { status: StatusCode::OK, revision, location: None, body }
    }

    pub fn created(location: String, revision: i64, body: T) -> Self {
        Self { status: StatusCode::CREATED, revision, location: Some(location), body }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        let tag = HeaderValue::from_str(&format!("\"{}\"", self.revision));
        headers.insert(header::ETAG, tag.expect("digits in quotes are a header value"));
        if let Some(location) = self.location.and_then(|l| HeaderValue::from_str(&l).ok()) {
            headers.insert(header::LOCATION, location);
        }
        (self.status, headers, Json(self.body)).into_response()
    }
}

/// What `If-Match` asks for.
#[derive(Debug, Clone)]
pub struct IfMatch(Option<String>);

impl IfMatch {
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| Problem::from(ErrorCode::PreconditionFailed))?;
        Ok(Self(Some(text.to_owned())))
    }

    /// Refuses unless the thing is as the caller last saw it.
    pub fn check(&self, revision: i64) -> Result<(), Problem> {
        self.check_tag(Some(&format!("\"{revision}\"")))
    }

    /// The same for what has no revision: nobody can have seen one.
    pub fn check_none(&self) -> Result<(), Problem> {
        self.check_tag(None)
    }

    fn check_tag(&self, tag: Option<&str>) -> Result<(), Problem> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let matches = wanted.split(',').map(str::trim).any(|one| one == "*" || Some(one) == tag);
        if matches { Ok(()) } else { Err(ErrorCode::PreconditionFailed.into()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_revision_matches() {
        let check = |text: Option<&str>| IfMatch(text.map(str::to_owned)).check(7).is_ok();
        assert!(check(None) && check(Some("*")) && check(Some("\"7\"")) && check(Some("\"6\", \"7\"")));
        assert!(!check(Some("\"6\"")) && !check(Some("7")) && !check(Some("")) && !check(Some("W/\"7\"")));
    }

    #[test]
    fn what_has_no_revision_is_as_nobody_saw_it() {
        let check = |text: Option<&str>| IfMatch(text.map(str::to_owned)).check_none().is_ok();
        assert!(check(None) && check(Some("*")));
        assert!(!check(Some("\"7\"")) && !check(Some("")));
    }
}
