//! Whether a frame is what the tables of actions and pushes say.

use bus_schema::{
    ErrorBody,
    protocol::{Action, ErrorPayload, PushAction, TypeVisitor},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads a payload as a type and writes it again: nothing may be lost or added.
#[derive(Clone, Copy)]
struct Kept<'a>(&'a Value);

impl TypeVisitor for Kept<'_> {
    type Out = Result<(), String>;

    fn visit<T: Serialize + DeserializeOwned>(self) -> Result<(), String> {
        let read: T = serde_json::from_str(&self.0.to_string()).map_err(|error| error.to_string())?;
        let written = serde_json::to_string(&read).map_err(|error| error.to_string())?;
        let written: Value = serde_json::from_str(&written).map_err(|error| error.to_string())?;
        if written == *self.0 { Ok(()) } else { Err(format!("it is read as {written}")) }
    }
}

/// What kind of frame it is, if the tables know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    Request(Action),
    Answer(Action),
    /// A failed one: it may be to an action that does not exist.
    Refusal,
    Push(PushAction),
}

/// Reads any frame of either side.
pub fn read(frame: &Value) -> Result<Known, String> {
    let text = |name: &str| frame[name].as_str().unwrap_or_default();
    let payload = Kept(&frame["payload"]);
    let known = match (text("type"), frame["success"].as_bool()) {
        ("push", None) => {
            let push = PushAction::parse(text("action")).ok_or("there is no such push")?;
            let reads = push.payloads(payload);
            let errors: Vec<String> = reads.iter().filter_map(|read| read.clone().err()).collect();
            if errors.len() == reads.len() {
                return Err(errors.join("; "));
            }
            Known::Push(push)
        }
        ("response", Some(false)) => {
            let read: ErrorPayload =
                serde_json::from_value(frame["payload"].clone()).map_err(|error| error.to_string())?;
            let ErrorBody { errors, .. } = read.error;
            let pointer = |pointer: &str| pointer.is_empty() || pointer.starts_with('/');
            if !errors.iter().all(|error| pointer(&error.pointer)) {
                return Err("a pointer of an error is none".to_owned());
            }
            Known::Refusal
        }
        ("response", Some(true)) => {
            let action = Action::parse(text("action")).ok_or("there is no such action")?;
            action.answer(payload)?;
            Known::Answer(action)
        }
        ("", None) => {
            let action = Action::parse(text("action")).ok_or("there is no such action")?;
            action.request(payload)?;
            Known::Request(action)
        }
        _ => return Err("neither request, answer nor push".to_owned()),
    };
    let fields = match known {
        Known::Request(_) => &["request_id", "action", "payload"][..],
        Known::Answer(_) | Known::Refusal => &["request_id", "action", "type", "success", "payload"],
        Known::Push(_) => &["type", "action", "payload"],
    };
    let mut given: Vec<&str> =
        frame.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str)).collect();
    let mut wanted = fields.to_vec();
    given.sort_unstable();
    wanted.sort_unstable();
    if given == wanted { Ok(known) } else { Err(format!("its fields are {given:?}")) }
}

/// Fails the test whose client saw what the tables do not say.
pub fn check(frame: &Value) {
    if let Err(error) = read(frame) {
        panic!("a frame that the protocol does not know: {error}: {frame}");
    }
}
