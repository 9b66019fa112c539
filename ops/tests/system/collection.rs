//! `docs/postman_collection.json` against a running system: every operation there is, in one walk.
//!
//! `UPDATE=1` records the answers as the examples of the documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use crate::seeds;

const WALK_MAX: Duration = Duration::from_secs(120);
const EXAMPLE_TIME: &str = "2026-11-21T01:02:03.004Z";

/// What `ops/postman.mjs` says of a request.
#[derive(Debug, Deserialize)]
struct Walked {
    id: String,
    method: String,
    url: String,
    status: Option<u16>,
    body: Value,
    /// Variables that it set.
    kept: BTreeMap<String, String>,
    failed: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

async fn walk() -> Vec<Walked> {
    let world = seeds::shared().await;
    let mut node = Command::new("node");
    node.current_dir(root()).args(["ops/postman.mjs", "docs/postman_collection.json"]);
    node.arg(format!("admin_url={}", world.var("CHATBUS_ADMIN_URL")));
    node.arg(format!("edge_url={}", world.edge_urls()[0]));
    let done = node.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(WALK_MAX, done).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let walked: Vec<Walked> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = walked.iter().filter(|one| !one.failed.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{said}");
    assert!(output.status.success(), "{said}");
    walked
}

#[tokio::test(flavor = "multi_thread")]
async fn the_postman_collection_walks_through_every_operation() {
    let walked = walk().await;
    let document = read("docs/openapi.json");
    let mut wrong = Vec::new();
    let update = std::env::var_os("UPDATE").is_some();
    let mut made = BTreeMap::new();
    let mut names = Names::default();
    for one in &walked {
        names.learn(&one.kept);
        let Some(operation) = operation(&document, &one.id) else { continue };
        let status = one.status.unwrap();
        let at = format!("{} {}: {status} {:#}", one.method, one.url, one.body);
        let response = &operation["responses"][status.to_string()];
        if response.is_null() {
            wrong.push(format!("not documented: {at}"));
        }
        let content = response["content"].as_object().and_then(|all| all.values().next());
        let Some(content) = content.filter(|_| status < 300) else { continue };
        let mut schema = content["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&one.body).map(|error| error.to_string()).collect();
        if !errors.is_empty() {
            wrong.push(format!("{errors:?} in {at}"));
        }
        let answer = names.shown(&one.body);
        if !update && !is_like(&answer, &content["example"]) {
            wrong.push(format!("the example is old, run with UPDATE=1: {at}"));
        }
        made.insert(one.id.clone(), answer);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if update {
        let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
        std::fs::write(root().join("admin-api/src/openapi/answers.json"), text).unwrap();
    }
    let walked: BTreeSet<&str> = walked.iter().map(|one| one.id.as_str()).collect();
    for item in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        assert!(walked.contains(item["operationId"].as_str().unwrap()), "{item:#} is not walked");
    }
}

fn operation<'a>(document: &'a Value, id: &str) -> Option<&'a Value> {
    let paths = document["paths"].as_object().unwrap().values();
    paths.flat_map(|path| path.as_object().unwrap().values()).find(|operation| operation["operationId"] == id)
}

/// What an answer has: the names of its fields, and of those of the first in a list.
fn parts(value: &Value) -> BTreeSet<String> {
    let fields = value.as_object().into_iter().flatten();
    let mut parts: BTreeSet<String> = fields.map(|(name, _)| name.clone()).collect();
    let first = value["data"].get(0).and_then(Value::as_object);
    parts.extend(first.into_iter().flatten().map(|(name, _)| format!("data/0/{name}")));
    parts
}

/// Whether an example has what an answer has. An example may show one where the walk finds none.
fn is_like(answer: &Value, example: &Value) -> bool {
    let mut wanted = parts(example);
    if answer["data"].as_array().is_some_and(Vec::is_empty) {
        wanted.retain(|part| !part.starts_with("data/"));
    }
    parts(answer) == wanted
}

/// Real ids, times and secrets, and what stands for them in an example.
#[derive(Debug, Default)]
struct Names {
    variables: BTreeMap<String, String>,
    others: BTreeMap<Uuid, Uuid>,
}

impl Names {
    fn learn(&mut self, kept: &BTreeMap<String, String>) {
        // Short ones stand in texts by chance.
        let long = kept.iter().filter(|(_, value)| value.len() > 8);
        self.variables.extend(long.map(|(name, value)| (value.clone(), name.clone())));
    }

    fn shown(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.shown(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| (name.clone(), secret(name, field).unwrap_or_else(|| self.shown(field))))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if let Some(name) = self.variables.get(text) {
            return format!("{{{{{name}}}}}");
        }
        if let Ok(id) = Uuid::try_parse(text) {
            let next = 0x0190_f3c2_5b7e_7c3a_9d4e_0000_0000_0100 + self.others.len() as u128;
            return self.others.entry(id).or_insert_with(|| Uuid::from_u128(next)).to_string();
        }
        let time = text.len() == EXAMPLE_TIME.len() && text.as_bytes()[10] == b'T' && text.ends_with('Z');
        if time { EXAMPLE_TIME.to_owned() } else { text.to_owned() }
    }
}

/// What is shown once, and is nobody's in the documentation.
fn secret(name: &str, value: &Value) -> Option<Value> {
    let text = value.as_str()?;
    match name {
        "token" | "identity_secret" => Some(format!("{}…", text.chars().take(4).collect::<String>()).into()),
        "hint" => Some(format!("{}…", text.chars().take(4).collect::<String>()).into()),
        "secret" => Some("JBSWY3DPEHPK3PXP".into()),
        "otpauth_url" => {
            Some(json!("otpauth://totp/Chatbus:ann@example.com?secret=JBSWY3DPEHPK3PXP&issuer=Chatbus"))
        }
        "receipt" => Some("nV0c…".into()),
        _ => None,
    }
}
