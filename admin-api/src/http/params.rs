//! Path and query parameters.
//!
//! An id that is no id names nothing: `not_found`. A query that is not understood is an error, never ignored.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;

/// The ids in a path, in order.
#[derive(Debug, Clone, Copy)]
pub struct Ids<T>(pub T);

fn nth<T: FromStr>(params: &RawPathParams, at: usize) -> Result<T, Problem> {
    let (_, text) = params.iter().nth(at).ok_or_else(Problem::not_found)?;
    text.parse().map_err(|_| Problem::not_found())
}

/// One id.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        nth(&params, 0).map(Self)
    }
}

impl<S: Send + Sync, A: FromStr, B: FromStr> FromRequestParts<S> for Ids<(A, B)> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self((nth(&params, 0)?, nth(&params, 1)?)))
    }
}

/// The query string as a type.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let mut cause: &dyn std::error::Error = &rejection;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            let text = cause.to_string();
            let field = text.split_once(": ").map(|(field, _)| field).filter(|f| !f.contains(' '));
            let unknown = text.split('`').nth(1);
            let pointer = field.or(unknown).map(|field| format!("/query/{field}")).unwrap_or_default();
            Problem::malformed(pointer, text)
        })?;
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::malformed("/query", "must not hold NUL characters"));
        }
        Ok(Self(query.0))
    }
}
