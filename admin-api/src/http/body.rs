//! Request bodies: typed JSON whose errors name the field.
//!
//! Invariant: a body that reaches a handler has only known fields, and every value passed its check.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use bus_schema::{ErrorCode, FieldError, object::Object};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{Problem, check::Checks};

/// What a request's body must satisfy beyond its type.
pub trait Check {
    fn check(&self, checks: &mut Checks);
}

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Check,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(ErrorCode::UnsupportedMediaType, "send content-type: application/json"));
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return ErrorCode::TooLarge.into();
            }
            Problem::malformed("", "the body could not be read")
        })?;
        parse(&bytes).map(Self)
    }
}

/// A body that may be left out: no content type and no bytes.
impl<T, S> OptionalFromRequest<S> for Body<T>
where
    T: DeserializeOwned + Check,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let none = request.headers().get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        if none && request.headers().get(header::CONTENT_TYPE).is_none() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads and checks a body.
fn parse<T: DeserializeOwned + Check>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Object(value): Object<T> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            let (pointer, message) = named(pointer, &error);
            return Problem::malformed(pointer, message);
        }
        // serde_json calls it a mistake in the JSON where it finds something else than the word it wants.
        if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
            return Problem::malformed(pointer, "is not of the type that it must have");
        }
        Problem::malformed("", format!("not JSON: {error}"))
    })?;
    json.end().map_err(|error| Problem::malformed("", format!("not JSON: {error}")))?;
    let mut checks = Checks::default();
    value.check(&mut checks);
    checks.finish()?;
    Ok(value)
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => out.push_str(&format!("/{}", escaped(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Errors about a field that is missing or unknown are reported at its parent: they name the field themselves.
fn named(pointer: String, error: &serde_json::Error) -> (String, String) {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let field = ["missing field `", "unknown field `"].iter().find_map(|prefix| {
        let rest = text.strip_prefix(prefix)?;
        rest.split_once('`').map(|(field, _)| escaped(field))
    });
    match field {
        Some(field) if !pointer.ends_with(&format!("/{field}")) => (format!("{pointer}/{field}"), text),
        Some(_) | None => (pointer, text),
    }
}

/// A field that may be left out, be null, or have a value: `None`, `Some(None)`, `Some(Some(…))`.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Deserialize::deserialize(deserializer).map(Some)
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Problem::invalid(errors)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default, deserialize_with = "bus_schema::object::list")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "a/b")]
        a: u8,
    }

    impl Check for Outer {
        fn check(&self, checks: &mut Checks) {
            checks.name("/name", &self.name);
            for (at, inner) in self.inner.iter().enumerate() {
                checks.that(&format!("/inner/{at}/a~1b"), inner.a < 9, "must be below 9");
            }
        }
    }

    #[test]
    fn an_array_is_no_body_even_where_every_field_may_be_left_out() {
        #[derive(Debug, Deserialize)]
        struct Change {
            #[serde(default)]
            _name: Option<String>,
        }
        impl Check for Change {
            fn check(&self, _: &mut Checks) {}
        }
        assert!(parse::<Change>(b"{}").is_ok());
        for array in [&b"[]"[..], b" [\"a\"]"] {
            assert!(parse::<Change>(array).is_err());
        }
    }

    #[test]
    fn errors_name_the_field_by_json_pointer() {
        let cases = [
            (r#"{"name":"x","inner":[{"a/b":1}]}"#, None),
            (r#"{"name":"x""#, Some((400, ""))),
            (r#"{"name":"x"} x"#, Some((400, ""))),
            (r#"{"name":7}"#, Some((400, "/name"))),
            (r#"{}"#, Some((400, "/name"))),
            (r#"{"name":"x","nome":1}"#, Some((400, "/nome"))),
            (r#"{"name":"x","inner":[{"a/b":1},{"a/b":300}]}"#, Some((400, "/inner/1/a~1b"))),
            (r#"{"name":"x","inner":[{"a/b":1,"c/d":1}]}"#, Some((400, "/inner/0/c~1d"))),
            (r#"{"name":"x","inner":[{}]}"#, Some((400, "/inner/0/a~1b"))),
            (r#"{"name":"","inner":[{"a/b":9}]}"#, Some((422, "/name"))),
            (r#"{"name":"\u0000"}"#, Some((422, "/name"))),
            (r#"{"name":"x","inner":[[1]]}"#, Some((400, "/inner/0"))),
            (r#"["x"]"#, Some((400, ""))),
        ];
        for (body, wanted) in cases {
            let got = parse::<Outer>(body.as_bytes()).err().map(|problem| {
                (
                    problem.status.as_u16(),
                    problem.body.errors.first().map(|e| e.pointer.clone()).unwrap_or_default(),
                )
            });
            assert_eq!(got, wanted.map(|(status, pointer)| (status, pointer.to_owned())), "{body}");
        }
    }
}
