//! What is said about a visitor, by themselves or by staff, checked.

use std::collections::BTreeMap;

use bus_schema::{
    ErrorBody, FieldError, WidgetId,
    limits::{
        CUSTOM_FIELDS_MAX, CUSTOM_KEY_CHARS_MAX, CUSTOM_VALUE_CHARS_MAX, EMAIL_CHARS_MAX,
        EXTERNAL_ID_CHARS_MAX, NAME_CHARS_MAX,
    },
    protocol::{UpdateVisitor, WidgetSession},
};

use super::ProfileChange;

/// Of a socket's request. Pointers begin with `at`.
pub fn of_update(
    update: UpdateVisitor,
    widget_id: Option<WidgetId>,
    at: &str,
) -> Result<ProfileChange, ErrorBody> {
    let UpdateVisitor { name, email, custom } = update;
    checked(ProfileChange { name, email, custom, widget_id, ..ProfileChange::default() }, at)
}

/// Of a widget's session, with the external id that an identity token proved.
pub fn of_session(
    session: &WidgetSession,
    proved: Option<&str>,
    widget_id: WidgetId,
) -> Result<ProfileChange, ErrorBody> {
    let change = ProfileChange {
        name: session.name.clone(),
        email: session.email.clone(),
        custom: session.custom.clone(),
        external_id: proved.map(str::to_owned).or_else(|| session.external_id.clone()),
        proved: proved.is_some(),
        widget_id: Some(widget_id),
        page: None,
    };
    checked(change, "")
}

fn checked(change: ProfileChange, at: &str) -> Result<ProfileChange, ErrorBody> {
    let mut errors = Vec::new();
    let mut text = |name: &str, value: &Option<String>, most: usize| {
        if let Some(value) = value
            && (value.chars().count() > most || value.chars().any(char::is_control))
        {
            let message = format!("at most {most} characters, none of them a control character");
            errors.push(FieldError::new(format!("{at}/{name}"), message));
        }
    };
    text("name", &change.name, NAME_CHARS_MAX);
    text("email", &change.email, EMAIL_CHARS_MAX);
    text("external_id", &change.external_id, EXTERNAL_ID_CHARS_MAX);
    if change.email.as_ref().is_some_and(|email| !email.is_empty() && !is_address(email)) {
        errors.push(FieldError::new(format!("{at}/email"), "expected an e-mail address"));
    }
    if let Some(custom) = &change.custom {
        custom_fields(custom, &format!("{at}/custom"), &mut errors);
    }
    if errors.is_empty() { Ok(change) } else { Err(ErrorBody::fields(errors)) }
}

fn custom_fields(custom: &BTreeMap<String, String>, at: &str, errors: &mut Vec<FieldError>) {
    if custom.len() > CUSTOM_FIELDS_MAX {
        errors.push(FieldError::new(at, format!("at most {CUSTOM_FIELDS_MAX} fields")));
        return;
    }
    for (key, value) in custom {
        if key.is_empty() || key.chars().count() > CUSTOM_KEY_CHARS_MAX {
            errors.push(FieldError::new(at, format!("names have 1 to {CUSTOM_KEY_CHARS_MAX} characters")));
        } else if value.chars().count() > CUSTOM_VALUE_CHARS_MAX {
            let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            errors.push(FieldError::new(pointer, format!("at most {CUSTOM_VALUE_CHARS_MAX} characters")));
        }
    }
}

/// Something on both sides of one `@`, without spaces; only a mail that arrives proves more.
fn is_address(text: &str) -> bool {
    match text.split_once('@') {
        Some((local, domain)) => {
            let plain = !text.chars().any(char::is_whitespace);
            plain && !local.is_empty() && domain.contains('.') && !domain.contains('@')
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let update = UpdateVisitor {
            name: Some("x".repeat(201)),
            email: Some("nobody".into()),
            custom: Some([("k".to_owned(), "v".repeat(1001))].into()),
        };
        let error = of_update(update, None, "/payload/visitor").unwrap_err();
        let pointers: Vec<_> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/payload/visitor/name", "/payload/visitor/email", "/payload/visitor/custom/k"]
        );
        let good = UpdateVisitor { email: Some("a@b.example".into()), ..UpdateVisitor::default() };
        assert!(of_update(good, None, "").is_ok());
    }
}
