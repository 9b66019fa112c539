//! A walk through every operation, in an order in which each finds what it needs: the examples of the documentation
//! and the requests of the Postman collection.
//!
//! Requests are written by hand (`walk.json`), with `{{variables}}` for what earlier answers gave; answers were
//! recorded from a running system (`answers.json`: `UPDATE=1 cargo test -p ops --test system collection`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

const WALK: &str = include_str!("walk.json");
const ANSWERS: &str = include_str!("answers.json");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// What stands for each variable in the documentation.
    pub values: BTreeMap<String, String>,
    pub steps: Vec<Step>,
    /// Answers to success, by operation.
    #[serde(skip)]
    answers: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name in the table of routes, unless `edge` says what it is.
    pub operation: String,
    pub edge: Option<AtEdge>,
    pub body: Option<Value>,
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Variables of the path that are other ones here.
    #[serde(default)]
    pub path: BTreeMap<String, String>,
    /// At the edge, without a token.
    #[serde(default)]
    pub public: bool,
    /// The answer that it has in this walk, where that is a problem; and why.
    pub status: Option<u16>,
    pub why: Option<String>,
    /// Statuses that pass while others still learn of what was made.
    #[serde(default)]
    pub again: Vec<u16>,
    /// JavaScript that Postman runs before.
    #[serde(default)]
    pub before: Vec<String>,
    /// Variables that later steps need, as JavaScript of the answer's `body`.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// The answer to success, where the walk does not have it.
    pub answer: Option<Value>,
    /// It answers like this other operation.
    pub same_as: Option<String>,
}

/// A request to the edge, which has no table of routes here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtEdge {
    pub method: String,
    pub path: String,
    pub summary: String,
}

impl Walk {
    pub fn read() -> Self {
        let mut walk: Self = serde_json::from_str(WALK).expect("a test reads it");
        walk.answers = serde_json::from_str(ANSWERS).expect("a test reads it");
        walk
    }

    pub fn step(&self, operation: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.operation == operation)
    }

    /// A request's body, as the documentation shows it.
    pub fn request(&self, operation: &str) -> Option<Value> {
        self.step(operation)?.body.as_ref().map(|body| self.shown(body))
    }

    /// The answer to success, as the documentation shows it.
    pub fn answer(&self, operation: &str) -> Option<Value> {
        let step = self.step(operation)?;
        let step = step.same_as.as_deref().map_or(Some(step), |other| self.step(other))?;
        step.answer.as_ref().or_else(|| self.answers.get(&step.operation)).map(|answer| self.shown(answer))
    }

    /// With the values of the documentation in place of variables.
    fn shown(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.filled(text).into(),
            Value::Array(items) => items.iter().map(|item| self.shown(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, field)| (name.clone(), self.shown(field))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    pub fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        text
    }
}
