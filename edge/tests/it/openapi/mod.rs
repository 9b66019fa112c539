//! The edge's HTTP is documented, and answers as the documentation says: in all of these tests, see [`held`].
//!
//! `UPDATE=1 cargo test -p edge --test it openapi` records the examples; once more, and they are in the document.

mod document;
mod headers;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::LazyLock,
};

use bus_schema::{
    ErrorCode,
    claims::Role,
    openapi::{named, reference},
    protocol::{MarkView, RateBody, SendAnswer, ThreadView, VisitorView, WidgetSession},
};
use edge::routes::{Access, Route};
use ops::testing::{
    held_to, schemas,
    shape::{Shape, shape_of},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    client::Client,
    files::{self, PNG},
    http::{self, Answer},
    signals::conversation,
    world::World,
};
use table::{Content, Operation};

const COMMAND: &str = "cargo test -p edge --test it openapi";
const ANSWERS: &str = "edge/tests/it/openapi/answers.json";
const EXAMPLE_TIME: &str = "2026-11-21T01:02:03.004Z";

fn answers() -> BTreeMap<String, Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(ANSWERS);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_else(|_| "{}".to_owned())).unwrap()
}

/// The operation that a request asks for.
fn asked<'a>(all: &'a [Operation], method: &str, path: &str) -> Option<&'a Operation> {
    let given: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
    all.iter().find(|operation| {
        let own: Vec<&str> = operation.route.path.split('/').collect();
        let is_one = own.len() == given.len()
            && own.iter().zip(&given).all(|(own, given)| own.starts_with('{') || own == given);
        operation.route.method == method && is_one
    })
}

/// Fails the test that got an answer which the documentation does not name.
#[track_caller]
pub fn held(method: &str, path: &str, status: u16, head: &str, body: &Value) {
    let all = table::all();
    let Some(operation) = asked(&all, method, path) else { return };
    let code = body["code"].as_str().filter(|_| status >= 400);
    let code = code.map(|code| ErrorCode::parse(code).expect("a code of the table"));
    assert!(
        document::allows(operation, status, code),
        "{} may answer {status} {code:?}, which its line of the table does not say: {body:#}",
        operation.route.name
    );
    // Nobody of the edge reads a request that is too long to be read.
    if status != 431 {
        headers::assert_there(operation, status, head, body);
    }
    let errors = GIVEN.get(operation.route.name).filter(|_| status == operation.status);
    let errors = errors.into_iter().flat_map(|validator| validator.iter_errors(body));
    let errors: Vec<String> = errors.map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:?} in {body:#}", operation.route.name);
}

/// What each operation answers with, by its name.
static GIVEN: LazyLock<BTreeMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
    let document = document::document(&answers());
    let of = |operation: Operation| {
        let described = operation_of(&document, &operation.route);
        let content = &described["responses"][operation.status.to_string()]["content"]["application/json"];
        Some((operation.route.name, validator(&document, content.get("schema")?)))
    };
    table::all().into_iter().filter_map(of).collect()
});

/// What may hold anything, and why.
const OPEN: [(&str, &str); 5] = [
    ("Element", "what a rich message shows is between console and widget"),
    ("ErrorBody/properties/data", "of each code its own"),
    ("Problem/properties/data", "of each code its own"),
    ("UnknownEvent/allOf/1/properties/data", "of a kind of a newer neighbour"),
    ("WidgetConfig/properties/theme", "what a page makes of it is the page's"),
];

#[test]
fn nothing_is_an_object_of_whatever_without_a_reason() {
    let open: BTreeSet<String> = OPEN.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(schemas::open_ends(&document::document(&answers())), open);
}

/// Whether a schema allows what a type reads: all that it may have, and where it is sent the least of it as well.
fn assert_reads<T: ToSchema + DeserializeOwned>(shape: &Shape, is_sent: bool) {
    let named = named::<T>().into_iter();
    let named: Map<String, Value> = named.map(|(name, schema)| (name, json!(schema))).collect();
    let validator = validator(&json!({ "components": { "schemas": named } }), &json!(reference::<T>()));
    for sample in [Some(shape.sample()), is_sent.then(|| shape.least())].into_iter().flatten() {
        let errors: Vec<String> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?} in {sample:#}", T::name());
    }
}

#[test]
fn the_schemas_say_what_decoding_does() {
    assert_reads::<WidgetSession>(&shape_of::<WidgetSession>(), true);
    assert_reads::<RateBody>(&shape_of::<RateBody>(), true);
    assert_reads::<SendAnswer>(&shape_of::<SendAnswer>(), true);
    assert_reads::<VisitorView>(&shape_of::<VisitorView>(), false);
    assert_reads::<ThreadView>(&shape_of::<ThreadView>(), false);
    assert_reads::<MarkView>(&shape_of::<MarkView>(), false);
}

fn operation_of<'a>(document: &'a Value, route: &Route) -> &'a Value {
    &document["paths"][route.path][route.method.as_str().to_lowercase()]
}

fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    jsonschema::draft202012::new(&root).unwrap()
}

#[track_caller]
fn assert_valid(document: &Value, content: &Value, value: &Value, at: &str) {
    let validator = validator(document, &content["schema"]);
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{at}: {errors:?} in {value:#}");
}

#[test]
fn the_document_is_that_of_the_types_and_its_examples_are_what_it_says() {
    let document = document::document(&answers());
    held_to(document::NAME, &(serde_json::to_string_pretty(&document).unwrap() + "\n"), COMMAND);
    for operation in table::all() {
        let described = operation_of(&document, &operation.route);
        if matches!(operation.takes, Content::Json(_)) {
            let content = &described["requestBody"]["content"]["application/json"];
            assert_valid(&document, content, &content["example"], operation.route.name);
        }
        for (status, response) in described["responses"].as_object().unwrap() {
            for (media, content) in response["content"].as_object().into_iter().flatten() {
                let at = format!("{} {status} {media}", operation.route.name);
                let has_json = status.starts_with('2') && matches!(operation.gives, Content::Json(_));
                assert!(!has_json || content["example"].is_object(), "{at} has no example");
                let several = content["examples"].as_object().into_iter().flatten();
                for example in several.map(|(_, one)| &one["value"]).chain(content.get("example")) {
                    assert_valid(&document, content, example, &at);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_running_edge_answers_as_the_document_says() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut got = BTreeMap::new();
    let config = http::get(edge.at, &format!("/v1/widget/config/{}", world.widget_key)).await;
    got.insert("widget_config", config);
    let more = json!({ "name": "Vera", "email": "vera@example.com", "initial_message": "Hello, where is my parcel?" });
    let session = http::post(edge.at, "/v1/widget/session", &world.session_body([1; 32], more)).await;
    let token = session.body["token"].as_str().unwrap().to_owned();
    let id = session.body["conversation"]["id"].clone();
    got.insert("widget_session", session);
    world.assign(conversation(&id), world.agents[0]).await;
    let base = format!("/v1/conversations/{}", id.as_str().unwrap());
    got.insert("conversation", http::get_as(edge.at, &base, &token).await);
    got.insert("events", http::get_as(edge.at, &format!("{base}/events?limit=10"), &token).await);
    let bearer = format!("Bearer {token}");
    let rating = json!({ "score": 5, "comment": "Quick and kind" }).to_string();
    let rate = format!("{base}/rate");
    got.insert("rate", http::request(edge.at, "PUT", &rate, &[("authorization", &bearer)], &rating).await);
    let upload = files::upload(edge.at, &id, &token, "cave.png", PNG).await;
    let (status, body) = (upload.status, upload.json());
    got.insert("upload", Answer { status, head: upload.head, body: body.clone() });
    got.insert("healthz", http::get(edge.at, "/healthz").await);
    let served = http::get(edge.at, "/openapi.json").await;
    assert_eq!(served.body, document::document(&answers()), "{}", served.head);
    for (path, part) in [("/docs/", "swagger-ui"), ("/docs/swagger-initializer.js", "/openapi.json")] {
        let page = files::fetch(edge.at, path).await;
        let text = String::from_utf8_lossy(&page.body);
        assert!(page.status == 200 && text.contains(part) && !text.contains("https://"), "{path}: {text}");
    }
    let socket = http::get(edge.at, "/v1/ws").await;
    assert_eq!(socket.problem(), (426, "invalid_request"));
    let (mut visitor, _) = Client::login(edge.at, &token).await;
    let mut file = body;
    file.as_object_mut().unwrap().remove("expires_at");
    let sent = visitor.request("send_event", files::file_event(&id, "f-1", &file)).await;
    assert_eq!(sent["success"], true, "{sent}");
    let link = files::link(&mut visitor, &file).await.unwrap();
    let file = files::fetch(edge.at, &link).await;
    got.insert("attachment", Answer { status: file.status, head: file.head, body: Value::Null });

    let mut names = Names::default();
    let mut made = BTreeMap::new();
    let document = document::document(&answers());
    for operation in table::all() {
        if operation.route.name == "socket" {
            continue;
        }
        let Some(answer) = got.get(operation.route.name) else {
            panic!("ask for {} above", operation.route.name)
        };
        assert_eq!(answer.status, operation.status, "{}: {answer:?}", operation.route.name);
        if !matches!(operation.gives, Content::Json(_)) {
            continue;
        }
        let described = operation_of(&document, &operation.route);
        let content = &described["responses"][operation.status.to_string()]["content"]["application/json"];
        assert_valid(&document, content, &answer.body, operation.route.name);
        made.insert(operation.route.name, names.shown("", &answer.body));
    }
    held_to(ANSWERS, &(serde_json::to_string_pretty(&made).unwrap() + "\n"), COMMAND);
}

#[tokio::test]
async fn a_refusal_has_the_headers_that_the_document_names() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS", "1")]).await;
    world.session(&edge, [1; 32], json!({})).await;
    let conversation = format!("/v1/conversations/{}", Uuid::nil());
    for (method, path, status) in [
        ("POST", "/v1/widget/session", 429),
        ("GET", "/v1/widget/config/pk_none", 404),
        ("GET", conversation.as_str(), 401),
        ("GET", "/v1/attachments/none", 403),
        ("GET", "/v1/ws", 426),
    ] {
        let answer = http::request(edge.at, method, path, &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.retry_after().is_some(), status == 429, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn each_route_lets_in_whom_its_line_of_the_table_says() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello?" })).await;
    let (visitor, id) = (session["token"].as_str().unwrap(), session["conversation"]["id"].as_str().unwrap());
    let staff = world.staff_token(world.agents[0], Role::Supervisor);
    for Route { method, path, access, name, .. } in edge::routes::table() {
        let path = path.replace("{id}", id).replace("{widget_key}", &world.widget_key);
        let ask = async |token: &str| {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str())];
            let given = if token.is_empty() { &headers[1..] } else { &headers[..] };
            http::request(edge.at, method.as_str(), &path, given, "").await.status
        };
        let (nobody, garbage) = (ask("").await, ask("garbage").await);
        if access == Access::Public {
            assert!(nobody != 401 && garbage != 401, "{name}: {nobody} {garbage}");
            continue;
        }
        assert_eq!((nobody, garbage), (401, 401), "{name}");
        let (visitor, staff) = (ask(visitor).await, ask(&staff).await);
        assert!(![401, 403].contains(&visitor), "{name}: {visitor} for the visitor");
        assert_eq!(staff == 403, access == Access::Visitor, "{name}: {staff} for staff");
    }
}

/// What stands in an example for what is another one each time.
#[derive(Default)]
struct Names(BTreeMap<String, Uuid>);

impl Names {
    fn shown(&mut self, field: &str, value: &Value) -> Value {
        match value {
            // Whether the edges have told each other by now.
            Value::Bool(_) if field == "online" => true.into(),
            Value::String(text) => self.text(field, text).into(),
            Value::Array(items) => items.iter().map(|item| self.shown(field, item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.shown(name, value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, field: &str, text: &str) -> String {
        match field {
            "token" => return "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSJ9.….…".to_owned(),
            "cursor" => return "AQ…".to_owned(),
            "ws_url" => return "wss://chat.example.com/v1/ws".to_owned(),
            "client_id" => return "i-0123456789abcdef0123456789abcdef01234567".to_owned(),
            _ => {}
        }
        if Uuid::try_parse(text).is_ok() {
            let next = 0x0190_f3c2_5b7e_7c3a_9d4e_0000_0000_0000 + self.0.len() as u128;
            return self.0.entry(text.to_owned()).or_insert_with(|| Uuid::from_u128(next)).to_string();
        }
        let is_time = text.len() == EXAMPLE_TIME.len() && text.as_bytes()[10] == b'T' && text.ends_with('Z');
        if is_time { EXAMPLE_TIME.to_owned() } else { text.to_owned() }
    }
}
