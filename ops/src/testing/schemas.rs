//! What the schemas of an OpenAPI document leave open.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Any of these says what a value may be.
const SAYS: [&str; 7] = ["type", "$ref", "enum", "const", "oneOf", "anyOf", "allOf"];

/// Every schema of a document, by where it stands: `Name/properties/field` in those with a name, after the name of the
/// operation in others.
pub fn schemas(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, schema) in fields(&document["components"]["schemas"]) {
        collect(schema, name, &mut found);
    }
    for (name, response) in fields(&document["components"]["responses"]) {
        contents(response, name, &mut found);
    }
    for (_, path) in fields(&document["paths"]) {
        for operation in METHODS.iter().filter_map(|method| path.get(method)) {
            let name = operation["operationId"].as_str().unwrap_or_default();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter_name = parameter["name"].as_str().unwrap_or_default();
                collect(&parameter["schema"], &format!("{name}?{parameter_name}"), &mut found);
            }
            contents(&operation["requestBody"], &format!("{name}/request"), &mut found);
            for (status, response) in fields(&operation["responses"]) {
                contents(response, &format!("{name}/{status}"), &mut found);
            }
        }
    }
    found
}

/// Where a value may be anything, or an object may hold anything.
pub fn open_ends(document: &Value) -> BTreeSet<String> {
    let open = schemas(document).into_iter().filter(|(_, schema)| is_open(schema));
    open.map(|(place, _)| place).collect()
}

/// Where a text has one of these names and none of its words are listed.
pub fn unlisted(document: &Value, names: &[&str]) -> BTreeSet<String> {
    let unlisted = schemas(document).into_iter().filter(|(place, schema)| {
        let named = place.rsplit(['/', '?']).find(|part| !["items", "0", "1"].contains(part));
        names.contains(&named.unwrap_or_default())
            && types(schema).contains(&"string")
            && schema.get("enum").is_none()
    });
    unlisted.map(|(place, _)| place).collect()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn contents<'a>(holder: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    for (media, content) in fields(&holder["content"]) {
        if let Some(schema) = content.get("schema") {
            collect(schema, &format!("{place} {media}"), found);
        }
    }
}

fn collect<'a>(schema: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((place.to_owned(), schema));
    for (name, property) in fields(&schema["properties"]) {
        collect(property, &format!("{place}/properties/{name}"), found);
    }
    for of in ["oneOf", "anyOf", "allOf"] {
        for (n, part) in schema[of].as_array().into_iter().flatten().enumerate() {
            collect(part, &format!("{place}/{of}/{n}"), found);
        }
    }
    if let Some(items) = schema.get("items") {
        collect(items, &format!("{place}/items"), found);
    }
    if let Some(more) = schema.get("additionalProperties").filter(|more| says_something(more)) {
        collect(more, &format!("{place}/additionalProperties"), found);
    }
}

fn says_something(schema: &Value) -> bool {
    SAYS.iter().any(|word| schema.get(word).is_some())
}

fn types(schema: &Value) -> Vec<&str> {
    let types =
        schema["type"].as_array().map_or_else(|| std::slice::from_ref(&schema["type"]), Vec::as_slice);
    types.iter().filter_map(Value::as_str).collect()
}

fn is_open(schema: &Value) -> bool {
    let holds_anything = schema.get("properties").is_none()
        && schema.get("additionalProperties").is_none_or(|more| *more != false && !says_something(more));
    !says_something(schema) || (types(schema).contains(&"object") && holds_anything)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_open_is_found_wherever_it_stands() {
        let anything = json!({ "type": ["object", "null"], "description": "…" });
        let document = json!({
            "components": { "schemas": {
                "Named": { "type": "object", "properties": {
                    "bare": anything,
                    "list": { "type": "array", "items": {} },
                    "free": { "type": "object", "additionalProperties": true },
                    "texts": { "type": "object", "additionalProperties": { "type": "string" } },
                    "none": { "type": "object", "additionalProperties": false },
                    "other": { "$ref": "#/components/schemas/Named" },
                } },
                "Either": { "oneOf": [{ "type": "string" }, anything] },
            } },
            "paths": { "/x": { "get": {
                "operationId": "x",
                "parameters": [{ "name": "q", "schema": { "type": "string" } }],
                "responses": { "200": { "content": { "application/json": { "schema": {} } } } },
            } } },
        });
        let open = [
            "Either/oneOf/1",
            "Named/properties/bare",
            "Named/properties/free",
            "Named/properties/list/items",
            "x/200 application/json",
        ];
        assert_eq!(open_ends(&document), open.map(str::to_owned).into());
    }

    #[test]
    fn a_closed_set_without_its_words_is_found() {
        let role = json!({ "type": "string", "enum": ["agent", "admin"] });
        let text = json!({ "type": "string" });
        let document = json!({ "components": { "schemas": { "Named": { "properties": {
            "role": role,
            "status": { "type": ["string", "null"] },
            "scopes": { "type": "array", "items": text },
            "name": text,
        } } } } });
        let unlisted = unlisted(&document, &["role", "status", "scopes"]);
        let wanted = ["Named/properties/scopes/items", "Named/properties/status"];
        assert_eq!(unlisted, wanted.map(str::to_owned).into());
    }
}
