//! The committed documentation is the one the table of routes makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use admin_api::{
    Access, openapi,
    routes::{self, Route},
};
use bus_schema::{Event, event::Kind, splice::splice};
use ops::testing::{held_to, schemas};
use serde_json::{Value, json};

/// What may hold anything, and why.
const OPEN: [(&str, &str); 8] = [
    ("Element", "what a rich message shows is between console and widget"),
    ("ErrorBody/properties/data", "of each code its own"),
    ("NewWidget/properties/theme", "what a page makes of it is the page's"),
    ("PatchWidget/properties/theme", "the same"),
    ("Problem/properties/data", "of each code its own"),
    ("RoutingDone/oneOf/17/properties/data", "of a kind of a newer neighbour"),
    ("UnknownEvent/allOf/1/properties/data", "the same"),
    ("WidgetView/allOf/1/properties/theme", "what a page makes of it is the page's"),
];
/// Texts of closed sets.
const CLOSED: [&str; 25] = [
    "action",
    "algorithm",
    "author_type",
    "close_reason",
    "code",
    "day",
    "entity",
    "identity_algorithm",
    "kind",
    "platform",
    "priority",
    "reason",
    "refused",
    "role",
    "rule",
    "scopes",
    "second_strategy",
    "source",
    "status",
    "strategy",
    "type",
    "view",
    "visibility",
    "waiting_reason",
    "when_offline",
];
/// Texts that have a name of those and are not of a closed set.
const FREE: [(&str, &str); 9] = [
    ("AuditEntry/properties/action", "each entity has its own, and what is written down stays"),
    ("Code/properties/code", "of an authenticator"),
    ("CompleteLogin/properties/code", "of an authenticator"),
    ("EventEnvelope/properties/kind", "each kind has its own schema beside it"),
    ("Register/properties/code", "of an authenticator"),
    ("FormField/properties/type", "what a widget makes of it is the widget's"),
    ("Problem/properties/type", "an address"),
    ("RoutingDone/oneOf/17/properties/kind", "of a newer neighbour"),
    ("oidc_callback?code", "a provider's"),
];

fn document() -> Value {
    serde_json::to_value(openapi::document(&routes::table())).unwrap()
}

#[test]
fn the_committed_document_is_current() {
    let made = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    held_to("docs/openapi.json", &made, "cargo test -p admin-api --test it openapi");
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.insert(reference.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_documented_with_its_access_and_every_reference_leads_somewhere() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for route in routes::table() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.name, "{} {}", route.method, route.path);
        assert!(names.insert(route.name), "{} is there twice", route.name);
        assert!(!route.summary.is_empty(), "{} has no summary", route.name);
        let secured = operation["security"].as_array().is_some_and(|security| !security.is_empty());
        assert_eq!(secured, route.access != Access::Public, "{}", route.name);
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("references stay in the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

/// Everything in the document that a value of `schema` may stand for is known to the validator.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    jsonschema::draft202012::new(&root).unwrap()
}

#[track_caller]
fn assert_valid(document: &Value, content: &Value, example: &Value, at: &str) {
    let errors: Vec<String> = validator(document, &content["schema"])
        .iter_errors(example)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{at}: {errors:?} in {example:#}");
}

#[test]
fn every_operation_has_examples_and_they_are_what_the_schemas_say() {
    let document = document();
    for route in routes::table() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let at = |what: &str| format!("{} {}", route.name, what);
        if route.takes.is_some() {
            let content = &operation["requestBody"]["content"]["application/json"];
            assert!(content.get("example").is_some(), "{} has no example", at("request"));
            assert_valid(&document, content, &content["example"], &at("request"));
        }
        let contents = operation["responses"][route.status.as_str()]["content"].as_object();
        for (media, content) in contents.into_iter().flatten() {
            assert!(content.get("example").is_some(), "{} has no example", at(media));
            assert_valid(&document, content, &content["example"], &at(media));
        }
    }
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let content = &response["content"]["application/problem+json"];
        for (code, example) in content["examples"].as_object().into_iter().flatten() {
            assert_valid(&document, content, &example["value"], &format!("{name} {code}"));
            assert_eq!(example["value"]["code"], code.as_str());
        }
    }
}

#[test]
fn nothing_is_an_object_of_whatever_without_a_reason() {
    let open: BTreeSet<String> = OPEN.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(schemas::open_ends(&document()), open);
}

#[test]
fn what_is_of_a_closed_set_lists_it() {
    let free: BTreeSet<String> = FREE.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(schemas::unlisted(&document(), &CLOSED), free);
}

#[test]
fn types_of_one_name_are_one_type() {
    let mut known = BTreeMap::new();
    let table = routes::table();
    for (name, schema) in table.iter().flat_map(Route::shapes).flat_map(|shape| (shape.named)()) {
        let schema = serde_json::to_value(schema).unwrap();
        let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*first, schema, "two types are called {name}");
    }
}

/// What was frozen of each kind, as readers get it.
fn golden() -> BTreeMap<Kind, Value> {
    let read = |kind: Kind| {
        let path =
            format!("{}/../bus-schema/tests/golden/v1/{}.json", env!("CARGO_MANIFEST_DIR"), kind.name());
        let stored = Event::decode(&std::fs::read(path).unwrap()).unwrap().encode();
        let seen = splice(4711, bus_schema::Timestamp::from_millis(1_795_222_923_004), &stored);
        (kind, serde_json::from_slice(&seen).unwrap())
    };
    Kind::ALL.iter().copied().map(read).collect()
}

#[test]
fn events_of_every_kind_are_what_the_document_says_and_nothing_else() {
    let document = document();
    let of = |name: &str| validator(&document, &json!({ "$ref": format!("#/components/schemas/{name}") }));
    let (conversation, visitor) = (of("Event"), of("VisitorEvent"));
    for (kind, event) in golden() {
        let name = kind.name();
        let of_conversation = kind.lane(bus_schema::Visibility::All).is_some();
        let of_visitor = name.starts_with("visitor_");
        assert_eq!(conversation.is_valid(&event), of_conversation, "{event:#}");
        assert_eq!(visitor.is_valid(&event), of_visitor, "{event:#}");
        let validator = if of_visitor { &visitor } else { &conversation };
        let wrong = |at: &str, value: Option<Value>| {
            let mut event = event.clone();
            let (above, field) = at.rsplit_once('/').unwrap();
            let above = event.pointer_mut(above).unwrap().as_object_mut().unwrap();
            match value {
                Some(value) => drop(above.insert(field.to_owned(), value)),
                None => drop(above.remove(field)),
            }
            assert!(!validator.is_valid(&event), "{at} makes no difference: {event:#}");
        };
        for field in ["seq", "at", "v", "kind", "id", "tenant_id", "author", "visibility", "data"] {
            wrong(&format!("/{field}"), None);
        }
        if !of_conversation && !of_visitor {
            continue;
        }
        wrong("/author/type", Some("nobody".into()));
        wrong("/visibility", Some("few".into()));
        wrong("/data", Some("text".into()));
        for field in event["data"].as_object().unwrap().keys() {
            wrong(&format!("/data/{field}"), Some(json!([[1]])));
        }
        let mut newer = event.clone();
        newer["kind"] = "of_a_newer_neighbour".into();
        newer["data"] = json!({ "of": "whatever" });
        assert!(validator.is_valid(&newer), "{newer:#}");
    }
}

/// What each operation answers with, by its name.
static ANSWERS: LazyLock<BTreeMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
    let document = document();
    let of = |route: Route| {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let content = &operation["responses"][route.status.as_str()]["content"]["application/json"];
        Some((route.name, validator(&document, content.get("schema")?)))
    };
    routes::table().into_iter().filter_map(of).collect()
});

/// Fails the test that got an answer which is not what the document says of success.
#[track_caller]
pub fn held(name: &str, body: &Value) {
    let errors = ANSWERS.get(name).into_iter().flat_map(|validator| validator.iter_errors(body));
    let errors: Vec<String> = errors.map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {body:#}");
}

#[test]
fn every_operation_documents_its_problems_by_status_and_code() {
    let document = document();
    for route in routes::table() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        for (status, codes) in route.problems() {
            let reference = operation["responses"][status.to_string()]["$ref"].as_str();
            let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
            let response = document.pointer(pointer.unwrap_or("none"));
            let examples =
                &response.unwrap_or(&Value::Null)["content"]["application/problem+json"]["examples"];
            for code in codes {
                assert_eq!(
                    examples[code.name()]["value"]["status"],
                    status,
                    "{} {status} {code}",
                    route.name
                );
            }
        }
    }
}

#[test]
fn whatever_replaces_or_changes_something_takes_if_match() {
    for route in routes::table().iter().filter(|route| ["PUT", "PATCH"].contains(&route.method.as_str())) {
        assert!(route.headers().any(|(name, _)| name == "If-Match"), "{}", route.name);
        assert_eq!(route.if_match, route.no_revision.is_none(), "{}", route.name);
    }
}

#[test]
fn the_walk_takes_every_operation_once() {
    let walk = openapi::Walk::read();
    let mut walked: Vec<&str> = walk.steps.iter().map(|step| step.operation.as_str()).collect();
    let table = routes::table();
    let mut all: Vec<&str> = table.iter().map(|route| route.name).collect();
    all.extend(walk.steps.iter().filter(|step| step.edge.is_some()).map(|step| step.operation.as_str()));
    walked.sort_unstable();
    all.sort_unstable();
    assert_eq!(walked, all);
}
