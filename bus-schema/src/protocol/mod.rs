//! What clients send and receive: the socket's frames (contract §3) and the shapes that HTTP shares.
//!
//! Requests refuse unknown fields; answers may gain fields, and readers ignore what they do not know.

mod action;
mod desk;
mod list;
mod push;
mod pushes;
mod said;
mod session;
mod typed;
mod view;
mod visitor;
mod widget;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use action::{Action, Who};
pub use desk::*;
pub use list::*;
pub use push::*;
pub use pushes::PushAction;
pub use said::*;
pub use session::*;
pub use typed::TypeVisitor;
pub use view::*;
pub use visitor::*;
pub use widget::*;

use crate::ErrorBody;

/// The protocol version of this build, said in `hello` and `login`.
pub const PROTOCOL: u32 = 1;

/// A client's request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// 1–64 characters, echoed in the answer.
    #[serde(borrow)]
    pub request_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub action: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

/// The answer to a request.
#[derive(Debug, Serialize)]
pub struct Response<'a, T> {
    pub request_id: &'a str,
    pub action: &'a str,
    #[serde(rename = "type")]
    pub kind: ResponseType,
    pub success: bool,
    pub payload: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseType {
    Response,
}

impl<'a, T> Response<'a, T> {
    pub const fn ok(request_id: &'a str, action: &'a str, payload: T) -> Self {
        Self { request_id, action, kind: ResponseType::Response, success: true, payload }
    }
}

impl<'a> Response<'a, ErrorPayload> {
    pub const fn failed(request_id: &'a str, action: &'a str, error: ErrorBody) -> Self {
        let payload = ErrorPayload { error };
        Self { request_id, action, kind: ResponseType::Response, success: false, payload }
    }
}

/// Payload of a failed answer and of the push `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorPayload {
    pub error: ErrorBody,
}

/// What the server says unasked.
#[derive(Debug, Serialize)]
pub struct Push<T> {
    #[serde(rename = "type")]
    pub kind: PushType,
    pub action: &'static str,
    pub payload: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushType {
    Push,
}

impl<T> Push<T> {
    pub const fn new(action: &'static str, payload: T) -> Self {
        Self { kind: PushType::Push, action, payload }
    }
}
