//! What JSON a type takes, asked of its own `Deserialize`.
//!
//! Invariant: nothing is declared a second time: names, choices, formats, what may be left out and whether unknown
//! fields are refused are found by trying, so a shape cannot differ from what decoding does. A type that flattens does
//! not say what it names, and one that tags inside takes no tries: those are seen from an example.

mod sample;
mod schema;
mod trace;

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use schema::Schemas;
use trace::{State, Tracer};

/// Tries until all texts of a type are found.
const TRIES_MAX: usize = 2_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Any JSON.
    Any,
    Bool,
    Integer {
        min: i64,
        max: u64,
    },
    Number,
    Text(Text),
    /// One of these words.
    Choice {
        name: &'static str,
        words: &'static [&'static str],
    },
    /// Or null.
    Optional(Box<Shape>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Object(Object),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    Free,
    Uuid,
    Time,
    /// Letters, digits and little else.
    Word,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Of the type.
    pub name: &'static str,
    pub fields: Vec<Field>,
    /// Fields that it does not name are passed over, not refused.
    pub open: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

/// The shape of a type.
pub fn shape_of<T: DeserializeOwned>() -> Shape {
    let state = State::default();
    let mut shape = trace::<T>(&state).unwrap_or_else(|error| panic!("not a type to ask: {error}"));
    refine::<T>(&state, "", &mut shape);
    shape
}

/// The shape of a type that holds one at `at` that keeps what it does not know. `example` is one of it, of which each
/// field is written that can be, and that says what the type called `name` names.
pub fn shape_by<T: DeserializeOwned>(example: &Value, at: &'static str, name: &'static str) -> Shape {
    let state = State::with(example.clone(), at, name);
    let mut shape = trace::<T>(&state).unwrap_or_else(|error| panic!("not a type to ask: {error}"));
    refine::<T>(&state, "", &mut shape);
    shape
}

/// Tries until every text has a form that the type takes.
fn trace<T: DeserializeOwned>(state: &State) -> Result<Shape, trace::Failed> {
    for _ in 0..TRIES_MAX {
        let mut shape = Shape::Any;
        match T::deserialize(Tracer::new(state, &mut shape)) {
            Ok(_) => return Ok(shape),
            Err(error) if !state.try_another() => return Err(error),
            Err(_) => {}
        }
    }
    panic!("no end of trying")
}

/// Leaves each field out, and adds one that nobody knows, to see what happens.
fn refine<T: DeserializeOwned>(state: &State, path: &str, shape: &mut Shape) {
    let accepted = |state: &State| T::deserialize(Tracer::new(state, &mut Shape::Any)).is_ok();
    match shape {
        Shape::Optional(inner) => refine::<T>(state, path, inner),
        Shape::List(inner) | Shape::Map(inner) => refine::<T>(state, &format!("{path}/0"), inner),
        Shape::Object(object) => {
            object.open = state.adding(path, || accepted(state));
            for field in &mut object.fields {
                let path = format!("{path}/{}", field.name);
                field.required = !state.leaving_out(&path, || accepted(state));
                refine::<T>(state, &path, &mut field.shape);
            }
        }
        Shape::Any
        | Shape::Bool
        | Shape::Integer { .. }
        | Shape::Number
        | Shape::Text(_)
        | Shape::Choice { .. } => {}
    }
}

impl Shape {
    /// The value itself, without `null`.
    pub fn inner(&self) -> &Shape {
        match self {
            Shape::Optional(inner) => inner.inner(),
            other => other,
        }
    }

    /// The fields in a line: `{conversation_id, event: {kind, data}, retry?}`.
    pub fn line(&self) -> String {
        match self.inner() {
            Shape::Object(object) => {
                let mut line = String::from("{");
                for (n, field) in object.fields.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    let optional = if field.required { "" } else { "?" };
                    let _ = write!(line, "{comma}{}{optional}", field.name);
                    let more = field.shape.line();
                    if !more.is_empty() {
                        let _ = write!(line, ": {more}");
                    }
                }
                line + "}"
            }
            Shape::List(inner) => match inner.line() {
                line if line.is_empty() => "[…]".to_owned(),
                line => format!("[{line}]"),
            },
            Shape::Choice { words, .. } if words.len() <= 6 => words.join("|"),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::protocol::{Done, Login, SendEvent, Transfer};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_says_what_it_takes() {
        let shape = shape_of::<SendEvent>();
        let line =
            "{conversation_id, thread_id?, event: {kind, client_id, visibility?: all|agents, data}, retry?}";
        assert_eq!(shape.line(), line);
        let Shape::Object(object) = &shape else { panic!("{shape:?}") };
        assert!(!object.open);
        assert_eq!(object.fields[0].shape, Shape::Text(Text::Uuid));
        assert!(
            matches!(&shape_of::<Done>(), Shape::Object(object) if object.open && object.fields.is_empty())
        );
        assert_eq!(shape_of::<Login>().line().matches('?').count(), 2, "resume and status");
    }

    #[test]
    fn a_state_says_what_it_takes_by_an_example() {
        #[derive(serde::Deserialize)]
        struct Carrier {
            #[expect(dead_code, reason = "only its shape is asked for")]
            state: Keeper,
        }
        #[derive(serde::Deserialize)]
        #[expect(dead_code, reason = "only its shape is asked for")]
        struct Keeper {
            status: bus_schema::state::ThreadStatus,
            seq: Option<u64>,
            outcome: bus_schema::command::Outcome,
            #[serde(flatten)]
            extra: bus_schema::state::Extra,
        }
        let outcome = serde_json::to_value(bus_schema::command::Outcome::DONE).unwrap();
        let example = json!({ "state": { "status": "active", "seq": 1, "outcome": outcome } });
        let shape = shape_by::<Carrier>(&example, "/state", "Keeper");
        assert_eq!(shape.line(), "{state: {outcome, seq?, status: queued|active|closed}}");
        let Shape::Object(carrier) = &shape else { panic!("{shape:?}") };
        let Shape::Object(keeper) = &carrier.fields[0].shape else { panic!("{shape:?}") };
        assert_eq!((keeper.name, keeper.open), ("Keeper", true));
    }

    #[test]
    fn a_sample_is_taken() {
        for sample in [shape_of::<Login>().sample(), shape_of::<Login>().least()] {
            serde_json::from_value::<Login>(sample).unwrap();
        }
        let sample = shape_of::<Transfer>().sample();
        serde_json::from_value::<Transfer>(sample).unwrap();
        let least = shape_of::<SendEvent>().least();
        assert_eq!(least["event"]["kind"], json!("any text: ü 🙂"));
        assert_eq!(least.get("retry"), None);
    }
}
