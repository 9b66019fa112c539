//! JSON Schema of shapes: objects and choices by name, once each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Object, Shape, Text};

/// The named schemas that others refer to.
#[derive(Debug, Default)]
pub struct Schemas {
    named: BTreeMap<&'static str, Value>,
}

impl Schemas {
    /// A schema that refers to the named ones.
    pub fn of(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Any => json!({}),
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Integer { min: 0, max } if *max > u64::from(u32::MAX) => {
                json!({ "type": "integer", "minimum": 0 })
            }
            Shape::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Shape::Number => json!({ "type": "number" }),
            Shape::Text(Text::Free) => json!({ "type": "string" }),
            Shape::Text(Text::Uuid) => json!({ "type": "string", "format": "uuid" }),
            Shape::Text(Text::Time) => json!({ "type": "string", "format": "date-time" }),
            Shape::Text(Text::Word) => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
            Shape::Optional(inner) => json!({ "anyOf": [self.of(inner), { "type": "null" }] }),
            Shape::List(inner) => json!({ "type": "array", "items": self.of(inner) }),
            Shape::Map(inner) => json!({ "type": "object", "additionalProperties": self.of(inner) }),
            Shape::Choice { name, words } => self.name(name, json!({ "type": "string", "enum": words })),
            Shape::Object(object) => {
                let schema = self.object(object);
                self.name(object.name, schema)
            }
        }
    }

    /// Two types of one name would hide each other.
    fn name(&mut self, name: &'static str, schema: Value) -> Value {
        let known = self.named.entry(name).or_insert_with(|| schema.clone());
        assert_eq!(*known, schema, "two types are called {name}");
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn object(&mut self, object: &Object) -> Value {
        let properties: serde_json::Map<String, Value> =
            object.fields.iter().map(|field| (field.name.to_owned(), self.of(&field.shape))).collect();
        let required: Vec<&str> =
            object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if !object.open {
            schema["additionalProperties"] = json!(false);
        }
        schema
    }

    pub fn named(self) -> BTreeMap<&'static str, Value> {
        self.named
    }
}
