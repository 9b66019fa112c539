//! One HTTP request at a time, over a plain socket.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::openapi;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

pub async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{extra}\r\n{body}"
    );
    let answer = raw(to, text.as_bytes()).await;
    openapi::held(method, path, answer.status, &answer.head, &answer.body);
    answer
}

pub async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, &[], "").await
}

/// Sends these bytes, and reads what is answered until the end.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(to).await.expect("the edge listens");
    // A server that has answered already shows in what is read.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

pub async fn post(to: SocketAddr, path: &str, body: &Value) -> Answer {
    request(to, "POST", path, &[], &body.to_string()).await
}

impl Answer {
    /// The code of a problem; each has a status, a title, its fields and the request's id, and is marked as one.
    pub fn problem(&self) -> (u16, &str) {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert!(self.body["errors"].is_array() && self.body["title"].is_string(), "{self:?}");
        assert!(self.body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{self:?}");
        (self.status, self.body["code"].as_str().expect("a problem has a code"))
    }

    /// In how many seconds to come again, where it says so.
    pub fn retry_after(&self) -> Option<u64> {
        let value = self.head.lines().find_map(|line| line.strip_prefix("retry-after: "));
        value.map(|seconds| seconds.parse().unwrap())
    }
}

pub async fn get_as(to: SocketAddr, path: &str, token: &str) -> Answer {
    request(to, "GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
}
