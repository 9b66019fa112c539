//! `Idempotency-Key` on POST: the same request gets the same answer, kept for a day.
//!
//! Invariant: of two requests of one agent with one key at most one is carried out at a time, and another request
//! under the same key is refused. What was begun is brought to its end and remembered also when the client hangs up,
//! so that its retry gets the answer. Faults of ours are not remembered, so that a retry can do better.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorBody, ErrorCode, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use persister::db::{At, Id, schema::config::idempotency_keys as keys};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{Problem, finish::REQUEST_MAX};
use crate::{access::Caller, app::App, clock, metrics, routes};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static(routes::REPLAYED);
const KEY_LENGTH_MAX: usize = 255;
/// After this long without an answer, the process that worked on the first request has died: no request takes longer.
const ABANDONED_AFTER: Duration = REQUEST_MAX.saturating_add(Duration::from_secs(5));
/// Answers larger than this are not remembered.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
struct Stored {
    fingerprint: Vec<u8>,
    started_at: At,
    status: Option<i16>,
    etag: Option<String>,
    location: Option<String>,
    body: Option<Vec<u8>>,
}

/// Carries out a request, or gives the answer it had before.
pub async fn remembered(app: &App, caller: &Caller, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match under(app, caller, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let printable = |text: &&str| !text.is_empty() && text.len() <= KEY_LENGTH_MAX;
    let text = value.to_str().ok().filter(printable);
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| Problem::malformed("", "Idempotency-Key must be 1 to 255 printable characters"))
}

async fn under(
    app: &App,
    caller: &Caller,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, app.body_max).await.map_err(|_| Problem::from(ErrorCode::TooLarge))?;
    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update([0]);
    hash.update(parts.uri.to_string());
    hash.update([0]);
    hash.update(&body);
    let fingerprint = hash.finalize().to_vec();
    if let Some(stored) = begin(app, caller, key, &fingerprint).await? {
        return replay(stored, &fingerprint);
    }
    let request = Request::from_parts(parts, Body::from(body));
    // A task of its own: the connection's ends when the client hangs up, and nobody would know how far it came.
    let task = tokio::spawn(carry_out(app.clone(), caller.clone(), key.to_owned(), request, next));
    task.await.map_err(|error| Problem::fault("carry out a request with an idempotency key", &error))?
}

async fn carry_out(
    app: App,
    caller: Caller,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let answered = timeout(REQUEST_MAX, AssertUnwindSafe(next.run(request)).catch_unwind()).await;
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::from(ErrorCode::Internal).into_response(),
        Err(_) => Problem::from(ErrorCode::Timeout).into_response(),
    };
    settle(&app, &caller, &key, response).await
}

/// Claims the key; or gives what is stored under it.
async fn begin(app: &App, caller: &Caller, key: &str, fingerprint: &[u8]) -> Result<Option<Stored>, Problem> {
    let mut connection = app.writing(caller.tenant).await?;
    let now = clock::now();
    let claimed = diesel::insert_into(keys::table)
        .values((
            keys::tenant_id.eq(Id(caller.tenant)),
            keys::agent_id.eq(Id(caller.agent)),
            keys::key.eq(key),
            keys::fingerprint.eq(fingerprint),
            keys::started_at.eq(At(now)),
        ))
        .on_conflict_do_nothing()
        .execute(&mut connection)
        .await?;
    if claimed == 1 {
        connection.commit().await?;
        return Ok(None);
    }
    let place = keys::table.find((Id(caller.tenant), Id(caller.agent), key));
    let stored = place.select(Stored::as_select()).first::<Stored>(&mut connection).await.optional()?;
    let Some(stored) = stored else {
        // It was given up between the two statements.
        return Err(in_flight());
    };
    let old = Timestamp::from_millis(now.millis() - i64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(0));
    if stored.status.is_some() || stored.started_at.0 > old || stored.fingerprint != fingerprint {
        return Ok(Some(stored));
    }
    let again =
        diesel::update(place.filter(keys::status.is_null().and(keys::started_at.eq(stored.started_at))))
            .set(keys::started_at.eq(At(now)))
            .execute(&mut connection)
            .await?;
    connection.commit().await?;
    if again == 1 { Ok(None) } else { Err(in_flight()) }
}

fn in_flight() -> Problem {
    let message = "the first request with this idempotency key is still under way";
    let mut body = ErrorBody::new(ErrorCode::Conflict, message).after(Duration::from_secs(1));
    body.retryable = true;
    body.into()
}

fn replay(stored: Stored, fingerprint: &[u8]) -> Result<Response, Problem> {
    if stored.fingerprint != fingerprint {
        return Err(ErrorCode::IdempotencyMismatch.into());
    }
    let status = stored.status.and_then(|status| StatusCode::from_u16(status.unsigned_abs()).ok());
    let status = status.ok_or_else(in_flight)?;
    metrics::replayed();
    let mut headers = HeaderMap::new();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [(header::ETAG, stored.etag), (header::LOCATION, stored.location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    Ok((status, headers, stored.body.unwrap_or_default()).into_response())
}

/// An answer that shows a secret has this among its extensions, where most answers of its route do not.
#[derive(Debug, Clone, Copy)]
pub struct ShowsSecret;

/// Remembers what went well and shows no secret; gives the key up otherwise, mostly because nothing was changed then.
async fn settle(app: &App, caller: &Caller, key: &str, response: Response) -> Result<Response, Problem> {
    let mut connection = app.writing(caller.tenant).await?;
    let place = keys::table.find((Id(caller.tenant), Id(caller.agent), key));
    let secret = response.extensions().get::<ShowsSecret>().is_some();
    if secret || !response.status().is_success() {
        diesel::delete(place).execute(&mut connection).await?;
        connection.commit().await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| Problem::fault("read an answer to remember it", &error))?;
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    diesel::update(place)
        .set((
            keys::status.eq(i16::try_from(parts.status.as_u16()).unwrap_or_default()),
            keys::etag.eq(text(header::ETAG)),
            keys::location.eq(text(header::LOCATION)),
            keys::body.eq(bytes.to_vec()),
        ))
        .execute(&mut connection)
        .await?;
    connection.commit().await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
