//! `docs/openapi-edge.json`: the edge's HTTP in OpenAPI 3.1, from its table and the types themselves.

use std::collections::BTreeMap;

use bus_schema::{
    ErrorBody, ErrorCode,
    limits::PAGE_MAX,
    openapi::{Named, named},
    problem::{MEDIA_TYPE, ProblemDetails},
};
use edge::routes::{Access, Route};
use ops::testing::shape::Text;
use serde_json::{Map, Value, json};

use super::{
    headers,
    table::{ALWAYS, Content, Operation, Typed, all},
};

pub const NAME: &str = "docs/openapi-edge.json";

/// Schemas by their names.
#[derive(Default)]
struct Schemas(Map<String, Value>);

impl Schemas {
    /// A schema that refers to the named ones.
    fn of(&mut self, typed: &Typed) -> Value {
        self.add((typed.named)());
        json!((typed.reference)())
    }

    /// Two types of one name would hide each other.
    fn add(&mut self, named: Named) {
        for (name, schema) in named {
            let schema = json!(schema);
            let known = self.0.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*known, schema, "two types are called {name}");
        }
    }
}

/// `answers`: of each operation by its name, as it was recorded.
pub fn document(answers: &BTreeMap<String, Value>) -> Value {
    let mut schemas = Schemas::default();
    schemas.add(named::<ProblemDetails<'_>>());
    let mut paths = Map::new();
    for operation in all() {
        let Route { method, path, name, .. } = &operation.route;
        let described = described(&operation, answers.get(*name), &mut schemas);
        let path = paths.entry(*path).or_insert_with(|| json!({}));
        path[method.as_str().to_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Chatbus edge",
            "version": "1",
            "description": "The visitor's HTTP. The socket is in asyncapi.json, the API of staff in openapi.json.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost:7700" }],
        "paths": paths,
        "components": {
            "headers": headers::components(),
            "schemas": schemas.0,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

fn described(operation: &Operation, answer: Option<&Value>, schemas: &mut Schemas) -> Value {
    let mut described = json!({
        "operationId": operation.route.name,
        "summary": operation.summary,
        "security": match operation.route.access {
            Access::Public => json!([]),
            Access::Visitor | Access::Both => json!([{ "token": [] }]),
        },
        "parameters": parameters(operation),
        "responses": responses(operation, answer, schemas),
    });
    for (status, response) in described["responses"].as_object_mut().into_iter().flatten() {
        response["headers"] = headers::described(operation, status);
    }
    if !operation.about.is_empty() {
        described["description"] = operation.about.into();
    }
    let body = match &operation.takes {
        Content::Nothing | Content::Bytes => return described,
        Content::Json(typed) => {
            json!({ "application/json": { "schema": schemas.of(typed), "example": operation.example } })
        }
        Content::Form => {
            let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
            let form = json!({ "type": "object", "properties": { "file": file }, "required": ["file"] });
            json!({ "multipart/form-data": { "schema": form } })
        }
    };
    described["requestBody"] = json!({ "required": true, "content": body });
    described
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path =
        operation.route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let schema = if name == "id" { json!({ "type": "string", "format": "uuid" }) } else { text() };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let is_required = matches!(operation.gives, Content::Bytes);
    let in_query = operation.query.iter().map(|(name, kind, about)| {
        let schema = match kind {
            Text::Uuid => json!({ "type": "string", "format": "uuid" }),
            Text::Free | Text::Time | Text::Word if is_required => text(),
            Text::Free | Text::Time | Text::Word if *name == "limit" => {
                json!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX })
            }
            Text::Free | Text::Time | Text::Word => json!({ "type": "integer", "minimum": 0 }),
        };
        json!({ "name": name, "in": "query", "required": is_required, "description": about, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn responses(operation: &Operation, answer: Option<&Value>, schemas: &mut Schemas) -> Value {
    let mut done = json!({ "description": "Done." });
    match &operation.gives {
        Content::Json(typed) => {
            done["content"] =
                json!({ "application/json": { "schema": schemas.of(typed), "example": answer } });
        }
        Content::Bytes => done["content"] = json!({ "*/*": {} }),
        Content::Nothing | Content::Form => {}
    }
    let mut all = json!({ operation.status.to_string(): done });
    if operation.route.name == "healthz" {
        all["503"] = json!({ "description": "It does not." });
        return all;
    }
    let always = [ErrorCode::RateLimited, ErrorCode::Unavailable];
    let always = always.iter().map(|code| (code.status(), std::slice::from_ref(code)));
    for (status, codes) in operation.problems.iter().copied().chain(always) {
        all[status.to_string()] = refused(status, codes);
    }
    let content = json!({ MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } });
    all["default"] = json!({
        "description": "Any other problem (RFC 9457): a fault of the server (500), or no answer in time (504).",
        "content": content,
    });
    all
}

fn refused(status: u16, codes: &[ErrorCode]) -> Value {
    let about: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}.", code.meaning())).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| (code.name().to_owned(), json!({ "value": problem(*code, status) })))
        .collect();
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({
        "description": about.join(" "),
        "content": { MEDIA_TYPE: { "schema": schema, "examples": examples } },
    })
}

fn problem(code: ErrorCode, status: u16) -> Value {
    let body = match code {
        ErrorCode::InvalidRequest => {
            ErrorBody::field("/visitor_key", "expected 32 random bytes in base64url")
        }
        code => ErrorBody::from(code),
    };
    json!(body.problem(status, "/v1/widget/session", "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e"))
}

/// Whether the document says that an operation may answer so.
pub fn allows(operation: &Operation, status: u16, code: Option<ErrorCode>) -> bool {
    let Some(code) = code else { return operation.status == status || operation.route.name == "healthz" };
    let is_listed = |(known, codes): &(u16, &'static [ErrorCode])| *known == status && codes.contains(&code);
    operation.problems.iter().any(is_listed) || (ALWAYS.contains(&code) && code.status() == status)
}
