//! The committed documentation is the one the table of routes makes.

use std::{collections::BTreeSet, path::Path};

use admin_api::{Access, openapi, routes};
use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(openapi::document(&routes::table())).unwrap()
}

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is old: run UPDATE=1 cargo test -p admin-api --test it openapi"
    );
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
