//! `docs/postman_collection.json`: the walk through every operation, for Postman (collection format 2.1).
//!
//! Made of the OpenAPI document and of the walk, so it can name no path or parameter that is not served.
//! `ops/postman.mjs` runs it against a system; a test of `ops` does.

use admin_api::{
    openapi::{self, Step, Walk},
    routes,
};
use ops::testing::held_to;
use serde_json::{Map, Value, json};

const SCHEMA: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";
/// Tries of a request that others must learn of first.
const TRIES_MAX: u32 = 40;
const PAUSE_MS: u32 = 250;

#[test]
fn the_committed_collection_is_current() {
    let made = format!("{}\n", serde_json::to_string_pretty(&collection()).unwrap());
    held_to("docs/postman_collection.json", &made, "cargo test -p admin-api --test it postman");
}

#[test]
fn the_collection_has_every_operation_and_its_variables_all_have_a_beginning() {
    let collection = collection();
    let requests: Vec<&Value> = collection["item"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|folder| folder["item"].as_array().unwrap())
        .collect();
    let names: Vec<&str> = requests.iter().map(|request| request["name"].as_str().unwrap()).collect();
    for route in routes::table() {
        assert_eq!(names.iter().filter(|name| **name == route.summary).count(), 1, "{}", route.name);
    }
    let text = collection["item"].to_string();
    let known: Vec<&str> =
        collection["variable"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    for used in text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
        assert!(known.contains(&used) || used.starts_with('$'), "{{{{{used}}}}} is no variable");
    }
}

fn collection() -> Value {
    let document = serde_json::to_value(openapi::document(&routes::table())).unwrap();
    let walk = Walk::read();
    let mut folders: Vec<Value> = Vec::new();
    for step in &walk.steps {
        let (area, item) = match &step.edge {
            Some(edge) => ("visitor (edge)".to_owned(), at_edge(step, edge)),
            None => at_admin_api(&document, step),
        };
        match folders.last_mut().filter(|folder| folder["name"] == area.as_str()) {
            Some(folder) => folder["item"].as_array_mut().unwrap().push(item),
            None => folders.push(json!({ "name": area, "item": [item] })),
        }
    }
    let variables = walk.values.keys().map(|name| json!({ "key": name, "value": "" }));
    let urls = [("admin_url", "http://localhost:7701"), ("edge_url", "http://localhost:7700")]
        .map(|(key, value)| json!({ "key": key, "value": value }));
    json!({
        "info": {
            "name": "Chatbus",
            "description": "Every operation, in an order in which each finds what it needs: run it as a whole, or \
                register (or set `email` and `password` and log in) and send what you like. Tokens and ids are kept \
                in the collection's variables. Needs open registration; `sh ops/up.sh` starts such a system.",
            "schema": SCHEMA,
        },
        "auth": bearer("access_token"),
        "item": folders,
        "variable": urls.into_iter().chain(variables).collect::<Vec<_>>(),
    })
}

fn bearer(variable: &str) -> Value {
    json!({ "type": "bearer", "bearer": [{ "key": "token", "value": format!("{{{{{variable}}}}}"), "type": "string" }] })
}

fn at_edge(step: &Step, edge: &openapi::AtEdge) -> Value {
    let auth = if step.public { json!({ "type": "noauth" }) } else { bearer("visitor_token") };
    let path = edge.path.trim_start_matches('/');
    let request = request(step, &edge.method, json!(parts("edge_url", path, &[])), vec![], auth);
    item(step, &edge.summary, request, 200)
}

/// The area, and the request.
fn at_admin_api(document: &Value, step: &Step) -> (String, Value) {
    let (path, method, operation) = operation(document, &step.operation);
    let mut path = path.trim_start_matches('/').to_owned();
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let place = |parameter: &Value, place: &str| parameter["in"] == place;
    let route = routes::table().into_iter().find(|route| route.name == step.operation).unwrap();
    for (name, means) in route.path_names() {
        let variable = step.path.get(name).unwrap_or(&means);
        path = path.replace(&format!("{{{name}}}"), &format!("{{{{{variable}}}}}"));
    }
    let query: Vec<Value> = parameters.iter().filter(|p| place(p, "query")).map(|p| asked(step, p)).collect();
    let mut headers = Vec::new();
    for header in parameters.iter().filter(|p| place(p, "header")) {
        let value = match route.no_revision {
            _ if header["name"] != "If-Match" => "{{$guid}}",
            Some(_) => "*",
            None => "{{etag}}",
        };
        headers.push(json!({ "key": header["name"], "value": value, "description": header["description"] }));
    }
    let public = operation["security"].as_array().is_some_and(Vec::is_empty);
    let auth = if public { json!({ "type": "noauth" }) } else { Value::Null };
    let success =
        operation["responses"].as_object().unwrap().keys().find(|status| *status < &"400".to_owned());
    let success = success.unwrap().parse().unwrap();
    let url = json!(parts("admin_url", &path, &query));
    let request = request(step, &method, url, headers, auth);
    let tag = operation["tags"][0].as_str().unwrap().to_owned();
    (tag, item(step, operation["summary"].as_str().unwrap(), request, success))
}

fn operation<'a>(document: &'a Value, id: &str) -> (&'a str, String, &'a Value) {
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"] == id {
                return (path, method.to_uppercase(), operation);
            }
        }
    }
    panic!("{id} is no operation");
}

/// A parameter of the query: given where the walk says so, else there to be switched on.
fn asked(step: &Step, parameter: &Value) -> Value {
    let name = parameter["name"].as_str().unwrap();
    let fresh = (name == "min_seq").then(|| "{{seq}}".to_owned());
    let given = step.query.get(name).cloned().or(fresh);
    let mut query = json!({
        "key": name,
        "value": given.clone().unwrap_or_default(),
        "description": parameter["description"],
    });
    if given.is_none() {
        query["disabled"] = true.into();
    }
    query
}

fn parts(host: &str, path: &str, query: &[Value]) -> Value {
    let on: Vec<String> = query
        .iter()
        .filter(|one| one["disabled"] != true)
        .map(|one| format!("{}={}", one["key"].as_str().unwrap(), one["value"].as_str().unwrap()))
        .collect();
    let mut raw = format!("{{{{{host}}}}}/{path}");
    if !on.is_empty() {
        raw = format!("{raw}?{}", on.join("&"));
    }
    let mut url = json!({
        "raw": raw,
        "host": [format!("{{{{{host}}}}}")],
        "path": path.split('/').collect::<Vec<_>>(),
    });
    if !query.is_empty() {
        url["query"] = query.into();
    }
    url
}

fn request(step: &Step, method: &str, url: Value, mut headers: Vec<Value>, auth: Value) -> Value {
    let mut request = Map::new();
    request.insert("method".to_owned(), method.into());
    if let Some(body) = &step.body {
        headers.push(json!({ "key": "Content-Type", "value": "application/json" }));
        let raw = serde_json::to_string_pretty(body).unwrap();
        let language = json!({ "raw": { "language": "json" } });
        request.insert("body".to_owned(), json!({ "mode": "raw", "raw": raw, "options": language }));
    }
    request.insert("header".to_owned(), headers.into());
    request.insert("url".to_owned(), url);
    if !auth.is_null() {
        request.insert("auth".to_owned(), auth);
    }
    if let Some(why) = &step.why {
        request.insert("description".to_owned(), format!("Answers a problem in this walk: {why}").into());
    }
    request.into()
}

fn item(step: &Step, name: &str, request: Value, success: u16) -> Value {
    let mut events = vec![script("test", after(step, step.status.unwrap_or(success)))];
    if !step.before.is_empty() {
        events.insert(0, script("prerequest", step.before.clone()));
    }
    json!({ "name": name, "id": step.operation, "event": events, "request": request, "response": [] })
}

fn script(listen: &str, lines: Vec<String>) -> Value {
    json!({ "listen": listen, "script": { "type": "text/javascript", "exec": lines } })
}

/// What happens with the answer: it is judged, and what later requests need is kept.
fn after(step: &Step, expected: u16) -> Vec<String> {
    let set = |name: &str, value: &str| format!("pm.collectionVariables.set({name:?}, {value});");
    let mut judged =
        vec![format!("pm.test(\"answers {expected}\", () => pm.response.to.have.status({expected}));")];
    judged.push(set("etag", "pm.response.headers.get(\"ETag\") || \"*\""));
    if !step.keep.is_empty() {
        judged.push(format!("if (pm.response.code === {expected}) {{"));
        if step.keep.values().any(|value| value.starts_with("body.")) {
            judged.push("  const body = pm.response.json();".to_owned());
        }
        judged.extend(step.keep.iter().map(|(name, value)| format!("  {}", set(name, value))));
        judged.push("}".to_owned());
    }
    if step.again.is_empty() {
        return judged;
    }
    let mut lines = vec![
        "// Others learn of what was made a moment later.".to_owned(),
        "const tries = Number(pm.collectionVariables.get(\"tries\")) || 0;".to_owned(),
        format!("if ({:?}.includes(pm.response.code) && tries < {TRIES_MAX}) {{", step.again),
        format!("  {}", set("tries", "String(tries + 1)")),
        "  pm.execution.setNextRequest(pm.info.requestName);".to_owned(),
        format!("  setTimeout(() => {{}}, {PAUSE_MS});"),
        "} else {".to_owned(),
        format!("  {}", set("tries", "\"0\"")),
    ];
    lines.extend(judged.into_iter().map(|line| format!("  {line}")));
    lines.push("}".to_owned());
    lines
}
