//! Forms: what an agent asks for, and what a visitor fills in.
//!
//! Invariant: an answer names only fields that were asked for, and leaves out none that is required.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    ErrorBody, FieldError,
    limits::{CUSTOM_KEY_CHARS_MAX, FORM_FIELDS_MAX, FORM_VALUE_CHARS_MAX},
};
use serde_json::Value;

use super::content::escaped;

/// Checks a form's fields: objects with a `name` of their own. What else they hold is between console and widget.
pub(super) fn fields(fields: &[Value], at: &str) -> Result<(), ErrorBody> {
    if fields.is_empty() || fields.len() > FORM_FIELDS_MAX {
        return Err(ErrorBody::field(at, format!("1 to {FORM_FIELDS_MAX} fields")));
    }
    let mut names = BTreeSet::new();
    for (n, field) in fields.iter().enumerate() {
        let wrong = |name: &str, message: String| Err(ErrorBody::field(format!("{at}/{n}{name}"), message));
        let Value::Object(field) = field else { return wrong("", "expected an object".into()) };
        match field.get("name") {
            Some(Value::String(name)) if fits(name) => {
                if !names.insert(name) {
                    return wrong("/name", "another field has this name".into());
                }
            }
            _ => return wrong("/name", format!("expected 1 to {CUSTOM_KEY_CHARS_MAX} characters")),
        }
        for (name, is_right, expected) in [
            ("label", field.get("label").is_none_or(Value::is_string), "a string"),
            ("type", field.get("type").is_none_or(Value::is_string), "a string"),
            ("required", field.get("required").is_none_or(Value::is_boolean), "true or false"),
        ] {
            if !is_right {
                return wrong(&format!("/{name}"), format!("expected {expected}"));
            }
        }
    }
    Ok(())
}

fn fits(name: &str) -> bool {
    (1..=CUSTOM_KEY_CHARS_MAX).contains(&name.chars().count())
}

/// Checks what was filled in by itself.
pub(super) fn values(values: &BTreeMap<String, Value>, at: &str) -> Result<(), ErrorBody> {
    if values.len() > FORM_FIELDS_MAX {
        return Err(ErrorBody::field(at, format!("at most {FORM_FIELDS_MAX} fields")));
    }
    let errors = values.iter().filter_map(|(name, value)| {
        let short = |text: &str| text.chars().count() <= FORM_VALUE_CHARS_MAX && !text.contains('\0');
        let right = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
            Value::String(text) => short(text),
            Value::Array(items) => {
                items.len() <= FORM_FIELDS_MAX && items.iter().all(|item| item.as_str().is_some_and(short))
            }
            Value::Object(_) => false,
        };
        let expected = format!(
            "expected a text of at most {FORM_VALUE_CHARS_MAX} characters, several, a number, true or false"
        );
        (!right).then(|| FieldError::new(format!("{at}/{}", escaped(name)), expected))
    });
    refused(errors.collect())
}

/// Checks what was filled in against what was asked.
pub(super) fn answers(asked: &[Value], given: &BTreeMap<String, Value>, at: &str) -> Result<(), ErrorBody> {
    let name = |field: &Value| field.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: BTreeSet<String> = asked.iter().filter_map(name).collect();
    let strangers = given
        .keys()
        .filter(|key| !names.contains(*key))
        .map(|key| FieldError::new(format!("{at}/{}", escaped(key)), "the form has no such field"));
    let required = asked
        .iter()
        .filter(|field| field.get("required").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(name)
        .filter(|name| given.get(name).is_none_or(is_empty))
        .map(|name| FieldError::new(format!("{at}/{}", escaped(&name)), "is required"));
    refused(strangers.chain(required).collect())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn refused(errors: Vec<FieldError>) -> Result<(), ErrorBody> {
    if errors.is_empty() { Ok(()) } else { Err(ErrorBody::fields(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointer(outcome: Result<(), ErrorBody>) -> Option<String> {
        outcome.err().map(|error| error.errors[0].pointer.clone())
    }

    #[test]
    fn a_form_asks_for_named_fields() {
        let check = |value: Value| pointer(fields(value.as_array().unwrap(), "/f"));
        assert_eq!(check(json!([{ "name": "city", "label": "City", "required": true }])), None);
        assert_eq!(check(json!([])).as_deref(), Some("/f"));
        assert_eq!(check(json!(["city"])).as_deref(), Some("/f/0"));
        assert_eq!(check(json!([{ "label": "City" }])).as_deref(), Some("/f/0/name"));
        assert_eq!(check(json!([{ "name": "a" }, { "name": "a" }])).as_deref(), Some("/f/1/name"));
        assert_eq!(check(json!([{ "name": "a", "required": 1 }])).as_deref(), Some("/f/0/required"));
    }

    #[test]
    fn an_answer_names_what_was_asked_and_leaves_out_nothing_required() {
        let asked = json!([{ "name": "city", "required": true }, { "name": "zip" }]);
        let check = |given: Value| {
            let given: BTreeMap<String, Value> = serde_json::from_value(given).unwrap();
            pointer(values(&given, "/v").and_then(|()| answers(asked.as_array().unwrap(), &given, "/v")))
        };
        assert_eq!(check(json!({ "city": "Bern", "zip": 3000 })), None);
        assert_eq!(check(json!({ "zip": 3000 })).as_deref(), Some("/v/city"));
        assert_eq!(check(json!({ "city": " " })).as_deref(), Some("/v/city"));
        assert_eq!(check(json!({ "city": "Bern", "a/b": 1 })).as_deref(), Some("/v/a~1b"));
        assert_eq!(check(json!({ "city": { "x": 1 } })).as_deref(), Some("/v/city"));
    }
}
