//! What a person may put into an event: the kinds that can be sent, checked field by field.
//!
//! Invariant: what passes is within every limit and holds no field that the contract does not name.

use bus_schema::{
    Body, ErrorBody, FieldError,
    event::Kind,
    limits::{NAME_CHARS_MAX, QUICK_REPLIES_MAX},
};
use serde_json::value::RawValue;

use super::{form, rich};

/// Longest text in bytes; 0 = no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit(pub usize);

/// Decodes and checks `data` of an event that a person sends. Pointers of errors begin with `at`.
pub fn content(kind: Kind, data: &RawValue, text: TextLimit, at: &str) -> Result<Body, ErrorBody> {
    let Some(allowed) = fields(kind) else {
        return Err(ErrorBody::field(parent(at, "kind"), format!("{} cannot be sent", kind.name())));
    };
    let given: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(data.get()).map_err(|_| ErrorBody::field(at, "expected an object"))?;
    let unknown: Vec<FieldError> = given
        .keys()
        .filter(|key| !allowed.contains(&key.as_str()))
        .map(|key| FieldError::new(format!("{at}/{}", escaped(key)), "unknown field"))
        .collect();
    if !unknown.is_empty() {
        return Err(ErrorBody::fields(unknown));
    }
    let body = Body::from_client(kind, data).map_err(|error| ErrorBody::field(at, plain(&error)))?;
    check(&body, text, at)?;
    Ok(body)
}

/// The fields of each kind that people send.
const fn fields(kind: Kind) -> Option<&'static [&'static str]> {
    Some(match kind {
        Kind::Message => &["text", "quick_replies"],
        Kind::RichMessage => &["template", "elements"],
        Kind::Form => &["template_id", "fields"],
        Kind::FormFilled => &["form_event_id", "values"],
        Kind::MessageEdited => &["target_id", "text"],
        Kind::MessageDeleted => &["target_id", "purge"],
        Kind::File => &["attachment_id", "name", "content_type", "size", "width", "height"],
        _ => return None,
    })
}

fn check(body: &Body, limit: TextLimit, at: &str) -> Result<(), ErrorBody> {
    match body {
        Body::Message(message) => {
            text(&message.text, limit, at)?;
            if message.quick_replies.len() > QUICK_REPLIES_MAX {
                let most = format!("at most {QUICK_REPLIES_MAX}");
                return Err(ErrorBody::field(format!("{at}/quick_replies"), most));
            }
            for (n, reply) in message.quick_replies.iter().enumerate() {
                name(&reply.label, &format!("{at}/quick_replies/{n}/label"))?;
                name(&reply.value, &format!("{at}/quick_replies/{n}/value"))?;
            }
            Ok(())
        }
        Body::MessageEdited(edit) => text(&edit.text, limit, at),
        Body::RichMessage(message) => {
            name(&message.template, &format!("{at}/template"))?;
            let most = if limit.0 == 0 { usize::MAX } else { limit.0 };
            rich::elements(&message.elements, most, &format!("{at}/elements"))
        }
        Body::Form(form) => {
            name(&form.template_id, &format!("{at}/template_id"))?;
            form::fields(&form.fields, &format!("{at}/fields"))
        }
        Body::FormFilled(filled) => form::values(&filled.values, &format!("{at}/values")),
        _ => Ok(()),
    }
}

fn text(text: &str, limit: TextLimit, at: &str) -> Result<(), ErrorBody> {
    let pointer = || format!("{at}/text");
    if text.trim().is_empty() {
        return Err(ErrorBody::field(pointer(), "must not be empty"));
    }
    if limit.0 > 0 && text.len() > limit.0 {
        let errors = vec![FieldError::new(pointer(), format!("at most {} bytes of UTF-8", limit.0))];
        return Err(ErrorBody { code: bus_schema::ErrorCode::TooLarge, ..ErrorBody::fields(errors) });
    }
    if text.contains('\0') {
        return Err(ErrorBody::field(pointer(), "must not hold the character U+0000"));
    }
    Ok(())
}

fn name(text: &str, pointer: &str) -> Result<(), ErrorBody> {
    if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
        return Err(ErrorBody::field(pointer, format!("1 to {NAME_CHARS_MAX} characters")));
    }
    Ok(())
}

/// A JSON pointer's token.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The pointer of a neighbour of `at`.
fn parent(at: &str, neighbour: &str) -> String {
    let up = at.rsplit_once('/').map_or("", |(up, _)| up);
    format!("{up}/{neighbour}")
}

/// serde_json's message without its position, which means nothing in a part of a request.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or_else(|| text.clone(), |(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::ErrorCode;

    fn checked(kind: Kind, json: &str) -> Result<Body, ErrorBody> {
        let data = RawValue::from_string(json.to_owned()).unwrap();
        content(kind, &data, TextLimit(10), "/payload/event/data")
    }

    #[test]
    fn what_is_wrong_is_named_by_a_pointer() {
        assert!(checked(Kind::Message, r#"{"text":"hello"}"#).is_ok());
        for (json, code, pointer) in [
            (r#"[]"#, ErrorCode::InvalidRequest, "/payload/event/data"),
            (r#"{}"#, ErrorCode::InvalidRequest, "/payload/event/data"),
            (r#"{"text":1}"#, ErrorCode::InvalidRequest, "/payload/event/data"),
            (r#"{"text":"a","b/c":1}"#, ErrorCode::InvalidRequest, "/payload/event/data/b~1c"),
            (r#"{"text":" "}"#, ErrorCode::InvalidRequest, "/payload/event/data/text"),
            (r#"{"text":"12345678901"}"#, ErrorCode::TooLarge, "/payload/event/data/text"),
            (r#"{"text":"a\u0000"}"#, ErrorCode::InvalidRequest, "/payload/event/data/text"),
        ] {
            let error = checked(Kind::Message, json).unwrap_err();
            assert_eq!((error.code, error.errors[0].pointer.as_str()), (code, pointer), "{json}");
        }
    }

    #[test]
    fn kinds_that_nobody_sends_are_refused() {
        for kind in [Kind::Started, Kind::Closed, Kind::Decided, Kind::Read, Kind::AgentLoad] {
            let error = checked(kind, "{}").unwrap_err();
            assert_eq!(error.errors[0].pointer, "/payload/event/kind");
        }
    }
}
