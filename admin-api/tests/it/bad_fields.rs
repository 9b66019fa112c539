//! Every field of every body, and every parameter of every query: missing, of the wrong type, unknown, too large;
//! each refused by name, and nothing changed. The fields are those of the document that the types make, so a new one
//! is tried as well.

use std::{collections::BTreeMap, fmt::Write as _};

use admin_api::{
    openapi,
    routes::{self, QueryKind},
};
use serde_json::{Value, json};

use crate::tenancy::{
    Answer, Scene, Tenant, body, settled,
    targets::{self, Param, Side, Target},
};

/// A field that no request has.
const STRANGE: &str = "nobody_knows_it";
/// Longer than any text may be, and shorter than a body may be.
const LONG: usize = 40_000;

/// What must be refused, and where.
struct Bad {
    body: Value,
    pointer: String,
    why: &'static str,
}

struct Schemas(Value);

impl Schemas {
    /// What a schema stands for, and whether it may be null.
    fn resolve<'a>(&'a self, schema: &'a Value) -> (&'a Value, bool) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.resolve(self.0.pointer(&reference[1..]).expect("references lead somewhere"));
        }
        if let Some(either) = schema["oneOf"].as_array() {
            let real: Vec<_> = either.iter().filter(|one| one["type"] != "null").collect();
            let nullable = real.len() < either.len();
            return match real.as_slice() {
                [one] => (self.resolve(one).0, nullable),
                _ => (schema, nullable),
            };
        }
        (schema, schema["type"].as_array().is_some_and(|types| types.contains(&json!("null"))))
    }

    /// The smallest value that fits.
    fn sample(&self, schema: &Value) -> Value {
        let (schema, _) = self.resolve(schema);
        match kind(schema) {
            "object" => {
                let required = schema["required"].as_array().into_iter().flatten();
                let fields = required.map(|name| {
                    let name = name.as_str().expect("a name");
                    let sample = known(name).unwrap_or_else(|| self.sample(&schema["properties"][name]));
                    (name.to_owned(), sample)
                });
                Value::Object(fields.collect())
            }
            "array" => json!([]),
            "integer" => json!(1),
            "boolean" => json!(true),
            _ if schema["format"] == "uuid" => json!(uuid::Uuid::nil()),
            _ => schema["enum"][0].as_str().map_or_else(|| json!("x"), |word| json!(word)),
        }
    }

    /// Everything that may be wrong at `place` of `whole`.
    fn bad(&self, schema: &Value, whole: &Value, place: &str, found: &mut Vec<Bad>) {
        let (schema, nullable) = self.resolve(schema);
        let mut put = |value: Value, more: &str, why| {
            let mut body = whole.clone();
            set(&mut body, place, value);
            found.push(Bad { body, pointer: format!("{place}{more}"), why });
        };
        for value in wrong(schema) {
            put(value, "", "wrong type");
        }
        if !nullable && !place.is_empty() && schema.get("type").is_some() {
            put(Value::Null, "", "wrong type");
        }
        match kind(schema) {
            "string" if schema.get("format").is_none() => put(json!("x".repeat(LONG)), "", "too large"),
            "array" => {
                let item = self.sample(&schema["items"]);
                put(json!(vec![item.clone(); 1_000]), "", "too large");
                let mut listed = whole.clone();
                set(&mut listed, place, json!([item]));
                self.bad(&schema["items"], &listed, &format!("{place}/0"), found);
            }
            "object" if schema["additionalProperties"] == false => {
                let base = whole.pointer(place).filter(|value| value.is_object()).cloned();
                let base = base.unwrap_or_else(|| self.sample(schema));
                let mut strange = base.clone();
                strange[STRANGE] = json!(1);
                put(strange, &format!("/{STRANGE}"), "unknown");
                for name in schema["required"].as_array().into_iter().flatten() {
                    let name = name.as_str().expect("a name");
                    let mut without = base.clone();
                    without.as_object_mut().expect("an object").remove(name);
                    put(without, &format!("/{name}"), "missing");
                }
                let mut whole = whole.clone();
                set(&mut whole, place, base);
                for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                    self.bad(schema, &whole, &format!("{place}/{name}"), found);
                }
            }
            _ => {}
        }
    }
}

/// A right value where the document says no more than that it is a text.
fn known(name: &str) -> Option<Value> {
    Some(match name {
        "day" => json!("mon"),
        "from" => json!("09:00"),
        "to" => json!("17:00"),
        "time_zone" => json!("Europe/Berlin"),
        _ => return None,
    })
}

/// The type without `null`.
fn kind(schema: &Value) -> &str {
    let types =
        schema["type"].as_array().map_or_else(|| std::slice::from_ref(&schema["type"]), Vec::as_slice);
    types.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("any")
}

fn wrong(schema: &Value) -> Vec<Value> {
    match kind(schema) {
        "string" if schema["format"] == "uuid" => vec![json!(7), json!("no ü"), json!(["x"])],
        "string" if schema.get("enum").is_some() => vec![json!(7), json!("none of them")],
        "string" => vec![json!(7), json!(["x"])],
        "integer" => vec![json!("1"), json!(1.5), json!(-1), json!(1e30)],
        "boolean" => vec![json!("yes"), json!(1)],
        "array" => vec![json!("x"), json!({})],
        "object" => vec![json!("x"), json!(7)],
        _ => Vec::new(),
    }
}

fn wrong_values(param: &Param) -> impl Iterator<Item = (&'static str, &'static str)> {
    let values: &[&str] = match param.kind {
        QueryKind::Limit => &["0", "201", "-1", "x"],
        QueryKind::Integer => &["-1", "x", "1e3"],
        QueryKind::Boolean => &["maybe"],
        QueryKind::Uuid => &["x", "7"],
        QueryKind::Time => &["yesterday", "2026-11-23"],
        QueryKind::Word(_) => &["none_of_them"],
        QueryKind::Text if param.name == "cursor" => &["x"],
        QueryKind::Text | QueryKind::Words | QueryKind::MustWords => &[],
    };
    let name = param.name;
    values.iter().map(move |value| (name, *value))
}

fn set(body: &mut Value, place: &str, value: Value) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        *body = value;
        return;
    };
    match body.pointer_mut(parent).expect("what is above is there") {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        above => above[name] = value,
    }
}

fn pointers(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let errors = json["errors"].as_array().into_iter().flatten();
    errors.map(|error| error["pointer"].as_str().expect("a pointer").to_owned()).collect()
}

struct Caller {
    scene: Scene,
    tenant: Tenant,
}

impl Caller {
    async fn call(&self, target: &Target, url: &str, body: Option<&Value>) -> Answer {
        let mut request = self.scene.world.http.request(target.method.clone(), url);
        if target.least.is_some() {
            request = request.bearer_auth(&self.tenant.admin.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.scene.send(request).await
    }

    /// A sum over what is stored of the tenant, and how many tenants and accounts there are.
    async fn stored(&self) -> BTreeMap<String, String> {
        let mut stored = settled(&self.scene, &self.tenant).await;
        for table in ["config.tenants", "config.accounts"] {
            let count = format!("SELECT count(*)::text FROM {table}");
            let row = self.scene.world.postgres().await.query_one(&count, &[]).await.unwrap();
            stored.insert(table.to_owned(), row.get(0));
        }
        stored
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_is_missing_wrong_unknown_or_too_large_is_refused_by_name_and_changes_nothing() {
    let scene = Scene::open().await;
    let tenant = Tenant::open(&scene).await;
    let caller = Caller { scene, tenant };
    let schemas = Schemas(serde_json::to_value(openapi::document(&routes::table())).unwrap());
    let before = caller.stored().await;
    let (mut tried, mut failures) = (BTreeMap::new(), Vec::new());
    let targets = targets::all();
    let here = |target: &&Target| target.side == Side::Admin && !target.path.contains("{provider}");
    for target in targets.iter().filter(here) {
        let ids = &caller.tenant.ids;
        let mut url = format!("{}{}", caller.scene.url(target.side), target.filled(ids));
        for (n, param) in target.query.iter().filter(|param| param.required).enumerate() {
            write!(url, "{}{}=hello", if n == 0 { '?' } else { '&' }, param.name).unwrap();
        }
        let operation = &schemas.0["paths"][target.path][target.method.as_str().to_lowercase()];
        let mut found = Vec::new();
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            let whole = body(target, "bad", ids, None).unwrap_or_else(|| schemas.sample(schema));
            schemas.bad(schema, &whole, "", &mut found);
        }
        for bad in found {
            let answer = caller.call(target, &url, Some(&bad.body)).await;
            let named = pointers(&answer).iter().any(|pointer| {
                *pointer == bad.pointer || (bad.why == "too large" && pointer.starts_with(&bad.pointer))
            });
            let all = bad.pointer.is_empty() || answer.status == 413;
            if !([400, 413, 422].contains(&answer.status) && (named || all)) {
                let (name, at, why, mut text) = (target.name, &bad.pointer, bad.why, bad.body.to_string());
                text.truncate(text.floor_char_boundary(200));
                failures.push(format!("{name} {at} {why} {text}: {} {}", answer.status, answer.text()));
            }
            *tried.entry(bad.why).or_insert(0) += 1;
        }
        if !target.query.is_empty() {
            let mark = if url.contains('?') { '&' } else { '?' };
            let answer = caller.call(target, &format!("{url}{mark}{STRANGE}=1"), None).await;
            if answer.status != 400 || !pointers(&answer).contains(&format!("/query/{STRANGE}")) {
                failures.push(format!("{} ?{STRANGE}: {} {}", target.name, answer.status, answer.text()));
            }
            *tried.entry("unknown parameter").or_insert(0) += 1;
            for (name, value) in target.query.iter().flat_map(wrong_values) {
                let answer = caller.call(target, &format!("{url}{mark}{name}={value}"), None).await;
                if answer.status != 400 || !pointers(&answer).contains(&format!("/query/{name}")) {
                    let (route, status) = (target.name, answer.status);
                    failures.push(format!("{route} ?{name}={value}: {status} {}", answer.text()));
                }
                *tried.entry("wrong parameter").or_insert(0) += 1;
            }
        }
    }
    println!("{tried:?}");
    assert!(failures.is_empty(), "{} of {tried:?}:\n{}", failures.len(), failures.join("\n"));
    assert!(tried["wrong type"] > 200 && tried["too large"] > 50, "{tried:?}");
    assert!(tried["wrong parameter"] > 100, "{tried:?}");
    assert_eq!(caller.stored().await, before);
}
