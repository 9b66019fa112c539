//! `GET /v1/ws`: from HTTP to the socket.
//!
//! Invariant: a page that no widget and no console lists never gets a socket.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use bus_schema::{ErrorBody, ErrorCode};
use fastwebsockets::upgrade::{is_upgrade_request, upgrade as begin};

use super::{Problem, cors::is_known};
use crate::{
    app::App,
    directory::Origin,
    metrics::Refused,
    session::{self, Opening},
    socket::{self, Upgraded},
};

pub async fn upgrade(State(app): State<Arc<App>>, mut request: Request) -> Response {
    let origin = Origin::of(request.headers());
    if !is_known(&app, &origin) {
        app.core.measures.refused(Refused::Origin);
        return Problem::from(ErrorCode::OriginNotAllowed).into_response();
    }
    if app.shutdown.is_cancelled() {
        app.core.measures.refused(Refused::Capacity);
        let error = ErrorBody::new(ErrorCode::Unavailable, "this edge is being stopped");
        return Problem::from(error).into_response();
    }
    if !is_upgrade_request(&request) {
        app.core.measures.refused(Refused::Protocol);
        let error = ErrorBody::new(ErrorCode::InvalidRequest, "this is a WebSocket: send an upgrade request");
        return Problem::with_status(error, StatusCode::UPGRADE_REQUIRED).into_response();
    }
    let door = match app.admission.door(&request) {
        Ok(door) => door,
        Err(overloaded) => {
            let error = ErrorBody::from(ErrorCode::RateLimited).after(overloaded.after);
            return Problem::from(error).into_response();
        }
    };
    let Ok((response, upgraded)) = begin(&mut request) else {
        app.core.measures.refused(Refused::Protocol);
        let error = ErrorBody::new(ErrorCode::InvalidRequest, "not a WebSocket handshake of version 13");
        return Problem::malformed(error).into_response();
    };
    let served = app.clone();
    app.tasks.spawn(async move {
        match socket::upgraded(upgraded).await {
            // A task of its own, which keeps no room for the upgrade.
            Ok(Upgraded { socket, early }) => {
                let opening = Box::new(Opening { socket, early, origin, door });
                let tasks = served.tasks.clone();
                tasks.spawn(session::serve(served, opening));
            }
            Err(error) => tracing::debug!(%error, "an upgrade was not finished"),
        }
    });
    response.into_response()
}
