//! Every route of both services, and every place in a request where an id may stand.
//!
//! They come from the services' tables of routes, that of the edge by way of its document, and from the types of their
//! bodies: a new one is tried without anybody thinking of it, and an id whose kind is not known here fails the tests.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use admin_api::{
    Access, openapi,
    routes::{self, QueryKind},
};
use bus_schema::claims::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::tenant::Ids;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Admin,
    Edge,
}

#[derive(Debug, Clone)]
pub struct Target {
    pub side: Side,
    pub method: Method,
    pub path: &'static str,
    pub name: &'static str,
    /// It asks for nobody's token.
    pub is_public: bool,
    /// The least role that may call it; none: anybody, or whom the handler lets.
    pub least: Option<Role>,
    pub query: Vec<Param>,
    pub slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
pub struct Param {
    pub name: &'static str,
    pub kind: QueryKind,
    pub required: bool,
}

/// A place for the id of a thing of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub place: Place,
    pub kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Path(&'static str),
    Query(&'static str),
    /// A JSON pointer.
    Body(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "{{{name}}}"),
            Self::Query(name) => write!(f, "?{name}"),
            Self::Body(pointer) => f.write_str(pointer),
        }
    }
}

/// What the edge serves over HTTP: a test of the edge holds it to its table of routes.
static EDGE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../docs/openapi-edge.json"))
        .expect("the edge's document is JSON")
});

pub fn all() -> Vec<Target> {
    let table = routes::table();
    let document = serde_json::to_value(openapi::document(&table)).unwrap();
    let admin = table.iter().map(|route| of_admin(route, &document));
    let paths = EDGE["paths"].as_object().unwrap().iter();
    let edge = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| of_edge(method, path, operation))
    });
    admin.chain(edge).collect()
}

fn of_admin(route: &routes::Route, document: &Value) -> Target {
    let least = match route.access {
        Access::Public => None,
        Access::Staff(role) => Some(role),
    };
    let query = route.query.iter();
    let query: Vec<_> =
        query.map(|q| Param { name: q.name, kind: q.kind, required: q.is_required() }).collect();
    let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
    Target {
        side: Side::Admin,
        method: route.method.clone(),
        path: route.path,
        name: route.name,
        is_public: route.access == Access::Public,
        least,
        slots: slots(route.path, &query, operation, document),
        query,
    }
}

fn of_edge(method: &str, path: &'static str, operation: &'static Value) -> Target {
    let parameters = operation["parameters"].as_array().unwrap().iter();
    let query = parameters.filter(|parameter| parameter["in"] == "query").map(|parameter| Param {
        name: parameter["name"].as_str().unwrap(),
        kind: match (parameter["schema"]["type"].as_str(), parameter["schema"]["format"].as_str()) {
            (Some("integer"), _) => QueryKind::Integer,
            (_, Some("uuid")) => QueryKind::Uuid,
            _ => QueryKind::Text,
        },
        required: parameter["required"] == true,
    });
    let query: Vec<_> = query.collect();
    Target {
        side: Side::Edge,
        method: method.to_uppercase().parse().unwrap(),
        path,
        name: operation["operationId"].as_str().unwrap(),
        is_public: operation["security"] == json!([]),
        least: None,
        slots: slots(path, &query, operation, &EDGE),
        query,
    }
}

fn slots(path: &'static str, query: &[Param], operation: &Value, document: &Value) -> Vec<Slot> {
    let mut slots = in_path(path);
    let ids = query.iter().filter(|query| matches!(query.kind, QueryKind::Uuid));
    slots.extend(ids.map(|query| Slot { place: Place::Query(query.name), kind: named(query.name) }));
    let mut pointers = BTreeSet::new();
    ids_of(&operation["requestBody"]["content"]["application/json"]["schema"], document, "", &mut pointers);
    slots.extend(pointers.into_iter().map(|pointer| {
        let name = pointer.trim_end_matches("/0").rsplit('/').next().unwrap();
        Slot { kind: named(name), place: Place::Body(pointer) }
    }));
    slots
}

fn in_path(path: &'static str) -> Vec<Slot> {
    let parts: Vec<&'static str> = path.split('/').collect();
    let param = |at: usize| parts[at].strip_prefix('{').and_then(|part| part.strip_suffix('}'));
    let slot = |at| {
        let name = param(at).filter(|name| *name != "provider")?;
        let kind = if name == "id" { of_area(parts[at - 1]) } else { named(name) };
        Some(Slot { place: Place::Path(name), kind })
    };
    (1..parts.len()).filter_map(slot).collect()
}

/// What the part of a path before `{id}` holds.
fn of_area(area: &str) -> &'static str {
    match area {
        "agents" => "agent",
        "groups" => "group",
        "widgets" => "widget",
        "tags" => "tag",
        "canned-responses" => "canned",
        "action-templates" => "template",
        "api-tokens" => "api_token",
        "devices" => "device",
        "sessions" => "session",
        "conversations" => "conversation",
        "threads" => "thread",
        "events" => "event",
        "visitors" => "visitor",
        "attachments" => "attachment",
        other => panic!("of what kind are the ids under {other}?"),
    }
}

fn named(name: &str) -> &'static str {
    match name {
        "agent_id" | "actor_id" | "entity_id" => "agent",
        "group_id" | "group_ids" | "default_group_id" => "group",
        "tag_id" => "tag",
        "thread_id" => "thread",
        "visitor_id" => "visitor",
        "tenant_id" | "tenant" => "tenant",
        "ids" => "conversation",
        "widget_key" => "widget_key",
        other => panic!("of what kind is {other}?"),
    }
}

/// Where ids stand in a body of this schema.
fn ids_of(schema: &Value, document: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return ids_of(document.pointer(&reference[1..]).unwrap(), document, at, found);
    }
    for choice in ["oneOf", "anyOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten() {
        ids_of(choice, document, at, found);
    }
    if schema["format"] == "uuid" {
        found.insert(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        ids_of(property, document, &format!("{at}/{name}"), found);
    }
    if schema["items"].is_object() {
        ids_of(&schema["items"], document, &format!("{at}/0"), found);
    }
}

impl Target {
    /// It is about a conversation, or about what is in one, or about its visitor.
    pub fn is_of_a_conversation(&self) -> bool {
        let area = self.path.trim_start_matches("/v1/").split('/').next().unwrap_or_default();
        ["conversations", "threads", "events", "visitors"].contains(&area)
    }

    pub fn changes(&self) -> bool {
        self.method != Method::GET
    }

    /// The path with these ids in it.
    pub fn filled(&self, ids: &Ids) -> String {
        self.slots.iter().fold(self.path.replace("{provider}", "nobody"), |path, slot| match &slot.place {
            Place::Path(name) => path.replace(&format!("{{{name}}}"), &ids[slot.kind]),
            Place::Query(_) | Place::Body(_) => path,
        })
    }
}
