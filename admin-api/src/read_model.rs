//! How far the read model is, said with every answer from it, and awaited where asked.
//!
//! Invariant: `X-Applied-Seq` is read before the data, so the data holds at least everything up to it.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorBody, ErrorCode, Shard};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::{HeaderName, HeaderValue};
use persister::db::{At, schema::chat::watermark};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{access::Caller, app::App, http::Problem, routes::APPLIED_SEQ};

const HEADER: HeaderName = HeaderName::from_static(APPLIED_SEQ);
/// How long `?min_seq=` waits.
const WAIT_MAX: Duration = Duration::from_secs(3);
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LAST: Duration = Duration::from_millis(100);

/// An answer from the read model.
#[derive(Debug)]
pub struct Applied<T> {
    pub seq: i64,
    pub body: T,
}

impl<T: Serialize> IntoResponse for Applied<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        applied_header(&mut response, self.seq);
        response
    }
}

/// Says how far the read model was.
pub fn applied_header(response: &mut Response, seq: i64) {
    response.headers_mut().insert(HEADER, HeaderValue::from(seq));
}

/// How far the caller's shard is applied; at least `min_seq`, or an error after a while.
pub async fn applied(app: &App, caller: &Caller, min_seq: Option<u64>) -> Result<i64, Problem> {
    let wanted = i64::try_from(min_seq.unwrap_or(0)).unwrap_or(i64::MAX);
    let deadline = Instant::now() + WAIT_MAX;
    let mut pause = LOOK_FIRST;
    loop {
        let now = watermark(app, caller).await?;
        if now >= wanted {
            return Ok(now);
        }
        if Instant::now() + pause > deadline {
            let message = format!("the read model is at {now}, not yet at {wanted}");
            return Err(ErrorBody::new(ErrorCode::Timeout, message).into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_LAST);
    }
}

async fn watermark(app: &App, caller: &Caller) -> Result<i64, Problem> {
    Ok(position(app, caller.shard).await?.map_or(0, |(seq, _)| seq))
}

/// Where the read model of a shard stands, and when that was written; none: nothing was read yet.
pub async fn position(app: &App, shard: Shard) -> Result<Option<(i64, At)>, Problem> {
    let found = watermark::table
        .find(i32::from(shard.0))
        .select((watermark::seq, watermark::at))
        .first(&mut app.pool.get().await?)
        .await
        .optional()?;
    Ok(found)
}
