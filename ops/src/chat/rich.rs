//! Rich messages: bounded trees of elements, whose links lead to web pages and nowhere else.

use bus_schema::{
    ErrorBody,
    limits::{ELEMENT_DEPTH_MAX, ELEMENTS_MAX, URL_BYTES_MAX},
};
use serde_json::Value;

use super::content::escaped;

pub(super) fn elements(elements: &[Value], text_max: usize, at: &str) -> Result<(), ErrorBody> {
    if elements.is_empty() || elements.len() > ELEMENTS_MAX {
        return Err(ErrorBody::field(at, format!("1 to {ELEMENTS_MAX} elements")));
    }
    for (n, element) in elements.iter().enumerate() {
        let pointer = format!("{at}/{n}");
        if !element.is_object() {
            return Err(ErrorBody::field(pointer, "expected an object"));
        }
        tree(element, "", text_max, 0, &pointer)?;
    }
    Ok(())
}

fn tree(value: &Value, key: &str, text_max: usize, depth: usize, at: &str) -> Result<(), ErrorBody> {
    if depth > ELEMENT_DEPTH_MAX {
        return Err(ErrorBody::field(at, format!("nested deeper than {ELEMENT_DEPTH_MAX}")));
    }
    match value {
        Value::String(_) | Value::Null if leads_somewhere(key) => match value.as_str() {
            Some(link) => web_address(link, at),
            None => Ok(()),
        },
        Value::String(text) if text.len() > text_max => {
            Err(ErrorBody::field(at, format!("at most {text_max} bytes of UTF-8")))
        }
        Value::String(text) if text.contains('\0') => {
            Err(ErrorBody::field(at, "must not hold the character U+0000"))
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| tree(item, key, text_max, depth + 1, &format!("{at}/{n}"))),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            tree(field, name, text_max, depth + 1, &format!("{at}/{}", escaped(name)))
        }),
    }
}

/// Whether a field of this name is a link.
fn leads_somewhere(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    matches!(key.as_str(), "url" | "href" | "src" | "link" | "image") || key.ends_with("url")
}

/// A link to a web page: no script, no data, no file.
pub fn web_address(link: &str, at: &str) -> Result<(), ErrorBody> {
    let rest = ["https://", "http://"].into_iter().find_map(|scheme| {
        let (begin, rest) = link.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let has_host = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '['));
    let plain = !link.chars().any(|c| c.is_control() || c.is_whitespace());
    if has_host && plain && link.len() <= URL_BYTES_MAX {
        return Ok(());
    }
    Err(ErrorBody::field(at, format!("expected an http or https address of at most {URL_BYTES_MAX} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointer(elements_: Value) -> Option<String> {
        let outcome = elements(elements_.as_array().unwrap(), 10, "/e");
        outcome.err().map(|error| error.errors[0].pointer.clone())
    }

    #[test]
    fn links_lead_to_web_pages_alone() {
        for good in
            ["https://shop.example/a?b=c#d", "HTTP://shop.example", "http://[::1]:80/", "https://ü.example"]
        {
            assert_eq!(pointer(json!([{ "url": good }])), None, "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            " https://a.example",
            "https://",
            "https:///etc/passwd",
            "//a.example",
            "data:text/html,x",
            "https://a.example/\nx",
            "",
        ] {
            assert_eq!(pointer(json!([{ "url": bad }])).as_deref(), Some("/e/0/url"), "{bad}");
            let button = json!([{ "buttons": [{ "imageUrl": bad }] }]);
            assert_eq!(pointer(button).as_deref(), Some("/e/0/buttons/0/imageUrl"), "{bad}");
        }
    }

    #[test]
    fn trees_are_bounded() {
        assert_eq!(pointer(json!([])).as_deref(), Some("/e"));
        assert_eq!(pointer(json!([1])).as_deref(), Some("/e/0"));
        assert_eq!(pointer(json!([{ "title": "12345678901" }])).as_deref(), Some("/e/0/title"));
        let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
        assert!(pointer(json!([{ "x": deep }])).is_some());
        assert!(pointer(Value::Array(vec![json!({}); ELEMENTS_MAX + 1])).is_some());
    }
}
