//! Who is let in to a route.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use bus_schema::{ErrorBody, ErrorCode};

use super::Problem;
use crate::{
    app::App,
    directory::Origin,
    session::{Who, authenticate},
    standing,
};

/// Whose token a request must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody's.
    Public,
    Visitor,
    /// A visitor's, or staff's.
    Both,
}

/// Lets in whom the line of the table says; the handler is told who it is.
pub async fn guard(
    State((app, access)): State<(Arc<App>, Access)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access != Access::Public {
        let who = bearer(&app, request.headers()).await?;
        if access == Access::Visitor && !matches!(who, Who::Visitor { .. }) {
            return Err(ErrorCode::Forbidden.into());
        }
        request.extensions_mut().insert(who);
    }
    Ok(next.run(request).await)
}

/// Whose token the request carries; visitors also by their record.
async fn bearer(app: &App, headers: &HeaderMap) -> Result<Who, Problem> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' '));
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(ErrorBody::new(ErrorCode::Unauthenticated, "send Authorization: Bearer <token>").into());
    };
    let known = authenticate(app, token.trim(), &Origin::of(headers)).map_err(|denied| denied.error)?;
    standing::visitor_record(app, known.owner).await.map_err(|denied| denied.error)?;
    Ok(known.owner.who)
}
