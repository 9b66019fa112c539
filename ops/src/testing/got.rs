//! What came back over HTTP.

use reqwest::{Response, StatusCode, header::HeaderMap};
use serde_json::Value;

#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What is no JSON is a text.
    pub body: Value,
}

impl Got {
    pub async fn of(response: Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let text = || Some(Value::from(String::from_utf8_lossy(&bytes))).filter(|_| !bytes.is_empty());
        let body = serde_json::from_slice(&bytes).ok().or_else(text).unwrap_or_default();
        Ok(Self { status, headers, body })
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self
    }

    /// A problem with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        let said = (self.status.as_u16(), self.body["code"].as_str());
        assert_eq!(said, (status, Some(code)), "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn etag(&self) -> String {
        self.header("etag").to_owned()
    }

    /// Of what came back.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {:#}", self.body)).to_owned()
    }

    /// Of what a list holds.
    pub fn ids(&self) -> Vec<&str> {
        let listed = self.body["data"].as_array().unwrap_or_else(|| panic!("no list: {:#}", self.body));
        listed.iter().map(|one| one["id"].as_str().expect("what is listed has an id")).collect()
    }
}
