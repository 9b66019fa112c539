//! An answer as it came, and what of it may differ between something foreign and nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use uuid::Uuid;

/// When it was said, and how far the read model of the whole shard is.
const OF_THE_MOMENT: [&str; 3] = ["date", "x-request-id", "x-applied-seq"];

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
    /// Not so where the answer broke off on its way.
    pub whole: bool,
}

impl Answer {
    pub async fn of(mut response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
        let mut headers: Vec<(String, String)> = headers.collect();
        headers.sort();
        let mut bytes = Vec::new();
        let whole = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        Self { status, headers, bytes, whole }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub fn header_map(&self) -> HeaderMap {
        let named = |(name, value): &(String, String)| -> Option<(HeaderName, HeaderValue)> {
            Some((name.parse().ok()?, value.parse().ok()?))
        };
        self.headers.iter().filter_map(named).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// All of it, without what is of the moment, and with the id that was asked for as a word.
    pub fn masked(&self, asked: &str) -> String {
        let headers = self.headers.iter().filter(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
        let body = match serde_json::from_slice(&self.bytes) {
            Ok(json) => without_moments(json).to_string(),
            Err(_) => self.text(),
        };
        let body = body.replace(self.header("x-request-id"), "<request>");
        format!("{} {:?} {body}", self.status, headers.collect::<Vec<_>>()).replace(asked, "<id>")
    }

    /// Every byte of it in which something could be found: what cursors hold as well.
    pub fn everything(&self) -> String {
        let mut all = format!("{:?} {}", self.headers, self.text());
        if let Ok(json) = serde_json::from_slice(&self.bytes) {
            cursors(&json, &mut all);
        }
        all
    }
}

fn without_moments(json: Value) -> Value {
    match json {
        Value::String(text) if DateTime::parse_from_rfc3339(&text).is_ok() => "<date>".into(),
        Value::Array(values) => values.into_iter().map(without_moments).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, without_moments(value))).collect()
        }
        other => other,
    }
}

/// Appends the ids that opaque texts may hold as bytes.
fn cursors(json: &Value, all: &mut String) {
    match json {
        Value::String(text) => {
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            for window in bytes.windows(16).take(256) {
                let id = Uuid::from_slice(window).expect("16 bytes");
                all.push(' ');
                all.push_str(&id.to_string());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| cursors(value, all)),
        Value::Object(fields) => {
            let opaque = fields.iter().filter(|(name, value)| name.ends_with("cursor") || !value.is_string());
            opaque.for_each(|(_, value)| cursors(value, all));
        }
        _ => {}
    }
}
