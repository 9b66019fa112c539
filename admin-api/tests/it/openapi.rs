//! The committed documentation is the one the table of routes makes.

use std::collections::BTreeSet;

use admin_api::{Access, openapi, routes};
use ops::testing::held_to;
use serde_json::Value;

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
