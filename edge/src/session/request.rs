//! Reading requests: strictly, with a pointer to what is wrong.
//!
//! Invariant: what cannot be answered by its `request_id` is a bad frame; everything else gets an answer.

use bus_schema::{
    ErrorBody, FieldError,
    object::Object,
    protocol::{Action, Request},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

const REQUEST_ID_MAX: usize = 64;

/// A request that can be answered.
#[derive(Debug)]
pub struct Asked<'a> {
    pub request_id: std::borrow::Cow<'a, str>,
    /// None: there is no such action.
    pub action: Option<Action>,
    pub name: std::borrow::Cow<'a, str>,
    pub payload: Option<&'a RawValue>,
}

/// Reads a frame; an error means that it is no request.
pub fn read(text: &[u8]) -> Result<Asked<'_>, ErrorBody> {
    let request: Request<'_> = whole(text, "")?;
    if request.request_id.is_empty() || request.request_id.chars().count() > REQUEST_ID_MAX {
        return Err(ErrorBody::field("/request_id", format!("1 to {REQUEST_ID_MAX} characters")));
    }
    let Request { request_id, action: name, payload } = request;
    Ok(Asked { request_id, action: Action::parse(&name), name, payload })
}

/// Reads a payload; an absent one is an empty object.
pub fn payload<T: DeserializeOwned>(payload: Option<&RawValue>) -> Result<T, ErrorBody> {
    body(payload.map_or("{}", RawValue::get).as_bytes(), "/payload")
}

/// Reads a JSON body whose pointers begin with `at`.
pub fn body<T: DeserializeOwned>(bytes: &[u8], at: &str) -> Result<T, ErrorBody> {
    whole(bytes, at)
}

/// Read twice where something is wrong: finding out where costs as much as the reading.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8], at: &str) -> Result<T, ErrorBody> {
    if let Ok(Object(value)) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ErrorBody::fields(vec![field(at, &error)]))?;
    json.end().map_err(|_| ErrorBody::field(at, "there is more after the JSON value"))?;
    Ok(value)
}

fn field(at: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    use serde_path_to_error::Segment;
    let mut pointer = at.to_owned();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let text = error.inner().to_string();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return FieldError::new(format!("{pointer}/{name}"), "is missing");
    }
    FieldError::new(pointer, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::protocol::{SendEvent, SetStatus};

    #[test]
    fn a_frame_is_a_request_or_says_what_is_wrong() {
        let good = read(br#"{"request_id":"1","action":"ping"}"#).unwrap();
        assert_eq!((good.action, good.request_id.as_ref()), (Some(Action::Ping), "1"));
        assert_eq!(read(br#"{"request_id":"1","action":"fly"}"#).unwrap().action, None);
        let long = format!(r#"{{"request_id":"{}","action":"ping"}}"#, "x".repeat(65));
        for (bad, pointer) in [
            ("", ""),
            ("[]", ""),
            ("{}", "/request_id"),
            (r#"{"request_id":1,"action":"ping"}"#, "/request_id"),
            (r#"{"request_id":"","action":"ping"}"#, "/request_id"),
            (long.as_str(), "/request_id"),
            (r#"{"request_id":"1"}"#, "/action"),
            (r#"{"request_id":"1","action":"ping"} x"#, ""),
        ] {
            let error = read(bad.as_bytes()).unwrap_err();
            assert_eq!(error.errors[0].pointer, pointer, "{bad}");
        }
        assert!(read(br#"{"request_id":"1","action":"ping","extra":1}"#).is_err());
    }

    #[test]
    fn payload_errors_point_at_the_field() {
        let check = |json: &str| {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            payload::<SendEvent>(Some(&raw)).unwrap_err().errors[0].pointer.clone()
        };
        let id = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";
        assert_eq!(check("{}"), "/payload/conversation_id");
        assert_eq!(check(r#"{"conversation_id":"x"}"#), "/payload/conversation_id");
        let event = |event: &str| format!(r#"{{"conversation_id":"{id}","event":{event}}}"#);
        assert_eq!(check(&event("{}")), "/payload/event/kind");
        assert_eq!(check(&event(r#"{"kind":"message","client_id":"a b"}"#)), "/payload/event/client_id");
        assert_eq!(check(r#"["0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e", {}]"#), "/payload");
        assert!(payload::<SetStatus>(None).is_err());
    }

    #[test]
    fn no_bytes_panic() {
        use proptest::prelude::*;
        proptest!(|(bytes: Vec<u8>)| {
            let _ = read(&bytes);
        });
    }
}
