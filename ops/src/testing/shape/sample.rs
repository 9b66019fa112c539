//! JSON that has a shape.

use serde_json::{Value, json};

use super::{Shape, trace::TEXTS};

impl Shape {
    /// With every field.
    pub fn sample(&self) -> Value {
        self.made(true)
    }

    /// With the fields alone that must be there.
    pub fn least(&self) -> Value {
        self.made(false)
    }

    fn made(&self, whole: bool) -> Value {
        match self {
            Shape::Any => json!({}),
            Shape::Bool => json!(true),
            Shape::Integer { .. } => json!(1),
            Shape::Number => json!(0.5),
            Shape::Text(text) => {
                TEXTS.iter().find(|(of, _)| of == text).map_or(Value::Null, |(_, example)| json!(example))
            }
            Shape::Choice { words, .. } => json!(words[0]),
            Shape::Optional(inner) => inner.made(whole),
            Shape::List(inner) => json!([inner.made(whole)]),
            Shape::Map(inner) => json!({ "key": inner.made(whole) }),
            Shape::Object(object) => {
                let fields = object.fields.iter().filter(|field| whole || field.required);
                fields.map(|field| (field.name.to_owned(), field.shape.made(whole))).collect()
            }
        }
    }
}
