//! The headers of answers: which are there is said by the table of routes.

use std::collections::BTreeMap;

use bus_schema::ErrorCode;
use http::{HeaderName, StatusCode};
use utoipa::openapi::{
    Components, Header, Ref, RefOr, Response,
    extensions::Extensions,
    header::HeaderBuilder,
    schema::{ObjectBuilder, Type},
};

use super::text;
use crate::routes::{APPLIED_SEQ, REPLAYED, Route};

/// By its name in the documentation: what it is called in an answer, and what it says.
const ALL: [(&str, &str, Type, &str); 7] = [
    (
        REQUEST_ID,
        "x-request-id",
        Type::String,
        "The request's own id, or one that was made for it; logs have it.",
    ),
    (
        "X-Applied-Seq",
        APPLIED_SEQ,
        Type::Integer,
        "How far the read model was, at least, when this was read.",
    ),
    ("ETag", "etag", Type::String, "The revision of what is answered, for `If-Match`."),
    ("Location", "location", Type::String, "Where to go, or what was made."),
    (REPLAYED_AS, REPLAYED, Type::String, "`true`: the answer that this idempotency key got the first time."),
    (RETRY_AFTER, "retry-after", Type::Integer, "Seconds after which to try again, where that is known."),
    (AUTHENTICATE, "www-authenticate", Type::String, "How to say who one is."),
];
const REQUEST_ID: &str = "X-Request-Id";
const REPLAYED_AS: &str = "Idempotency-Replayed";
const RETRY_AFTER: &str = "Retry-After";
const AUTHENTICATE: &str = "WWW-Authenticate";
/// Those that an answer may lack where it is documented.
const SOMETIMES: [&str; 2] = [REPLAYED_AS, RETRY_AFTER];

/// Puts all of them where references lead.
pub(super) fn collect(components: &mut Components) {
    let headers = ALL.map(|(name, _, kind, about)| (name.to_owned(), RefOr::T(header(name, kind, about))));
    components.headers = BTreeMap::from(headers);
}

fn header(name: &str, kind: Type, about: &str) -> Header {
    let schema = match kind {
        Type::String => text(),
        kind => ObjectBuilder::new().schema_type(kind).into(),
    };
    // Of headers the builder does not know it.
    let required = Extensions::from_iter([("required", !SOMETIMES.contains(&name))]);
    HeaderBuilder::new().schema(Some(schema)).description(Some(about)).extensions(Some(required)).build()
}

/// Those of success.
pub(super) fn of_success(route: &Route, answer: &mut Response) {
    let carried = route.carries();
    let named = ALL.iter().filter(|(_, header, ..)| carried.contains(&HeaderName::from_static(header)));
    named.for_each(|(name, ..)| refer(answer, name));
    refer(answer, REQUEST_ID);
    if route.idempotent {
        refer(answer, REPLAYED_AS);
    }
}

/// Those of a problem.
pub(super) fn of_problem(status: u16, mut answer: Response) -> Response {
    refer(&mut answer, REQUEST_ID);
    if status == StatusCode::UNAUTHORIZED {
        refer(&mut answer, AUTHENTICATE);
    }
    if [ErrorCode::RateLimited, ErrorCode::Unavailable].iter().any(|code| code.status() == status) {
        refer(&mut answer, RETRY_AFTER);
    }
    answer
}

fn refer(answer: &mut Response, name: &str) {
    answer.headers.insert(name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
}
