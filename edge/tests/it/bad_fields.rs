//! Every field of every request: missing, of the wrong type, unknown, too large; each refused by name, and nothing
//! changed. The fields are those of the types that the tables of actions and routes name, so a new one is tried as
//! well, and one that has no bound in [`TOO_LARGE`] fails the test.

use bus_schema::{
    claims::Role,
    limits::{self, PAGE_MAX},
    protocol::{Action, Who, WidgetSession},
};
use ops::testing::shape::{Shape, Text, shape_of};
use serde_json::{Value, json};

use crate::{
    client::Client,
    http,
    protocol::Shaped,
    world::{Edge, World},
};

/// A field that no request has.
const STRANGE: &str = "nobody_knows_it";

/// What must be refused, and where.
#[derive(Debug)]
struct Bad {
    payload: Value,
    pointer: String,
    why: &'static str,
}

/// What is too much for a field, and how it is refused.
enum TooLarge {
    Refused(Value, &'static str),
    /// There is no such thing, because …
    Never(&'static str),
}

fn text(length: usize) -> Value {
    json!("x".repeat(length + 1))
}

/// By the name of a field that is a text, a number, a list or a map.
fn too_large(action: &str, pointer: &str) -> TooLarge {
    use TooLarge::{Never, Refused};
    let invalid = |value| Refused(value, "invalid_request");
    let many = |count: usize| {
        let fields = (0..=count).map(|n| (format!("f{n}"), json!("x")));
        json!(fields.collect::<serde_json::Map<_, _>>())
    };
    match (action, pointer.rsplit('/').next().unwrap_or_default()) {
        (_, "client_id" | "initial_client_id") => invalid(text(64)),
        ("login" | "refresh_token", "token") => Refused(text(10_000), "unauthenticated"),
        ("login", "name" | "version") => invalid(text(limits::NAME_CHARS_MAX)),
        ("login", "resume") => {
            let one = json!({ "conversation_id": uuid::Uuid::nil(), "cursor": "x" });
            invalid(json!(vec![one; limits::RESUME_MAX + 1]))
        }
        ("login", "cursor") => Never("what cannot be honoured is answered with `reset`"),
        ("login", "protocol") => invalid(json!(2)),
        (_, "kind") => Never("there are only so many, and others are refused by name"),
        ("preview", "text") => Refused(text(16 * 1024), "too_large"),
        ("transfer", "note") => Refused(text(16 * 1024), "too_large"),
        ("set_skills", "skills") => {
            let skills = (0..=limits::SKILLS_MAX).map(|n| n.to_string());
            invalid(json!(skills.collect::<Vec<_>>()))
        }
        ("set_skills", "0") => invalid(text(limits::SKILL_CHARS_MAX)),
        (_, "name") => invalid(text(limits::NAME_CHARS_MAX)),
        (_, "email") => invalid(json!(format!("{}@x.example", "x".repeat(limits::EMAIL_CHARS_MAX)))),
        (_, "custom") => invalid(many(limits::CUSTOM_FIELDS_MAX)),
        (_, "url") => invalid(json!(format!("https://x.example/{}", "x".repeat(limits::URL_BYTES_MAX)))),
        (_, "title") => invalid(text(limits::NAME_CHARS_MAX)),
        ("rate", "score") => invalid(json!(6)),
        ("rate", "comment") => invalid(text(limits::COMMENT_CHARS_MAX)),
        (_, "limit") => invalid(json!(PAGE_MAX + 1)),
        ("list_events", "before_seq" | "after_seq") => Never("beyond the end is the end"),
        (_, "up_to_seq") => Never("beyond the end is the end"),
        ("list_conversations", "cursor") => Never("the router reads it, and says what it is not"),
        ("session", "widget_key") => Refused(text(1_000), "not_found"),
        ("session", "visitor_key" | "identity_token") => invalid(text(1_000)),
        ("session", "initial_message") => Refused(text(16 * 1024), "too_large"),
        ("session", "external_id") => invalid(text(limits::EXTERNAL_ID_CHARS_MAX)),
        _ => panic!("{action}{pointer} needs a bound here"),
    }
}

/// Fields that are missing, of the wrong type, or strange, with the pointer of each.
fn malformed(shape: &Shape, whole: &Value, at: &str) -> Vec<Bad> {
    let mut found = Vec::new();
    walk(shape, "", &mut |shape, place| {
        let mut bad = |value: Value, more: &str, why| {
            let mut payload = whole.clone();
            *payload.pointer_mut(place).expect("the sample has every field") = value;
            found.push(Bad { payload, pointer: format!("{at}{place}{more}"), why });
        };
        for value in wrong(shape) {
            // No payload at all is an empty one.
            if !(place.is_empty() && value.is_null()) {
                bad(value, "", "wrong type");
            }
        }
        let Shape::Object(object) = shape.inner() else { return };
        assert!(!object.open, "{at}{place}: a request refuses what it does not know");
        let sample = shape.sample();
        let mut strange = sample.clone();
        strange[STRANGE] = json!(1);
        bad(strange, &format!("/{STRANGE}"), "unknown");
        for field in object.fields.iter().filter(|field| field.required) {
            let mut without = sample.clone();
            without.as_object_mut().expect("it is an object").remove(field.name);
            bad(without, &format!("/{}", field.name), "missing");
        }
    });
    found
}

fn walk(shape: &Shape, place: &str, visit: &mut impl FnMut(&Shape, &str)) {
    visit(shape, place);
    match shape.inner() {
        Shape::Object(object) => {
            for field in &object.fields {
                walk(&field.shape, &format!("{place}/{}", field.name), visit);
            }
        }
        Shape::List(inner) => walk(inner, &format!("{place}/0"), visit),
        Shape::Map(inner) => walk(inner, &format!("{place}/key"), visit),
        _ => {}
    }
}

/// JSON that is not of this shape.
fn wrong(shape: &Shape) -> Vec<Value> {
    let mut wrong = match shape.inner() {
        Shape::Any => return Vec::new(),
        Shape::Bool => vec![json!("yes"), json!(1)],
        Shape::Integer { .. } => vec![json!("1"), json!(1.5), json!(-1), json!(1e30)],
        Shape::Number => vec![json!("1")],
        Shape::Text(Text::Free) => vec![json!(7), json!(["x"])],
        Shape::Text(Text::Uuid | Text::Time | Text::Word) => vec![json!(7), json!("no ü")],
        Shape::Choice { .. } => vec![json!("none of them"), json!(7)],
        // A struct may be read from a list of its fields, and a list from nothing else.
        Shape::Object(_) | Shape::Map(_) => vec![json!("x"), json!(7)],
        Shape::List(_) => vec![json!("x"), json!({})],
        Shape::Optional(_) => unreachable!("the inner shape is never optional"),
    };
    if !matches!(shape, Shape::Optional(_)) {
        wrong.push(Value::Null);
    }
    wrong
}

/// The fields that could be too large.
fn bounded(shape: &Shape) -> Vec<String> {
    let mut places = Vec::new();
    walk(shape, "", &mut |shape, place| {
        let could_be = matches!(
            shape.inner(),
            Shape::Text(Text::Free | Text::Word) | Shape::Integer { .. } | Shape::List(_) | Shape::Map(_)
        );
        // What is inside of a map is bounded with it.
        if could_be && !place.ends_with("/key") {
            places.push(place.to_owned());
        }
    });
    places
}

struct Asked {
    visitor: Client,
    staff: Client,
    conversation: Value,
}

impl Asked {
    async fn new(world: &World, edge: &Edge) -> Self {
        let session = world.session(edge, [1; 32], json!({ "initial_message": "Hello" })).await;
        let (visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
        let token = world.staff_token(world.agents[0], Role::Supervisor);
        let (staff, _) = Client::login(edge.at, &token).await;
        Self { visitor, staff, conversation: session["conversation"]["id"].clone() }
    }

    async fn ask(&mut self, edge: &Edge, action: Action, payload: Value) -> Value {
        match action.who() {
            _ if action == Action::Login => {
                let mut stranger = Client::connect(edge.at, None).await.unwrap();
                stranger.request("login", payload).await
            }
            Who::Both | Who::Visitor => self.visitor.request(action.name(), payload).await,
            Who::Staff(_) => self.staff.request(action.name(), payload).await,
        }
    }
}

fn assert_refused(answer: &Value, code: &str, pointer: &str, what: &str) {
    let error = &answer["payload"]["error"];
    assert_eq!((&answer["success"], &error["code"]), (&json!(false), &json!(code)), "{what}: {answer}");
    let pointers: Vec<&str> =
        error["errors"].as_array().unwrap().iter().filter_map(|error| error["pointer"].as_str()).collect();
    let named = pointer.is_empty() || pointers.contains(&pointer);
    assert!(named, "{what}: {pointers:?} instead of {pointer}");
}

#[tokio::test]
async fn every_field_of_every_action_is_refused_by_name_when_it_is_wrong() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut asked = Asked::new(&world, &edge).await;
    let before = world.log.end().await.unwrap().last;
    let mut tried = 0;
    for action in Action::ALL {
        let shape = action.request(Shaped);
        for Bad { payload, pointer, why } in malformed(&shape, &shape.sample(), "/payload") {
            let what = format!("{} {why} {pointer}", action.name());
            let answer = asked.ask(&edge, *action, payload).await;
            assert_refused(&answer, "invalid_request", &pointer, &what);
            tried += 1;
        }
    }
    assert!(tried > 300, "only {tried}");
    assert_eq!(world.log.end().await.unwrap().last, before, "nothing was written");
}

#[tokio::test]
async fn every_field_of_every_action_that_is_too_large_is_refused_by_name() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut asked = Asked::new(&world, &edge).await;
    let before = world.log.end().await.unwrap().last;
    for action in Action::ALL {
        let shape = action.request(Shaped);
        let good = good(*action, &shape, &asked.conversation, &world);
        for place in bounded(&shape) {
            let (value, code) = match too_large(action.name(), &place) {
                TooLarge::Refused(value, code) => (value, code),
                TooLarge::Never(why) => {
                    assert!(!why.is_empty());
                    continue;
                }
            };
            let mut payload = good.clone();
            *payload.pointer_mut(&place).unwrap() = value;
            let what = format!("{}{place}", action.name());
            let pointer = if code == "unauthenticated" { String::new() } else { format!("/payload{place}") };
            let answer = asked.ask(&edge, *action, payload).await;
            assert_refused(&answer, code, &pointer, &what);
        }
    }
    assert_eq!(world.log.end().await.unwrap().last, before, "nothing was written");
}

/// A payload with every field, of which one will be too large.
fn good(action: Action, shape: &Shape, conversation: &Value, world: &World) -> Value {
    let mut payload = shape.sample();
    let message =
        json!({ "kind": "message", "client_id": "c-1", "visibility": "all", "data": { "text": "x" } });
    let visitor = json!({ "name": "Ada", "email": "ada@example.com", "custom": { "key": "value" } });
    if payload.get("conversation_id").is_some() {
        payload["conversation_id"] = conversation.clone();
        // The open one is meant.
        payload.as_object_mut().unwrap().remove("thread_id");
    }
    match action {
        Action::SendEvent => payload["event"] = message,
        Action::StartThread => {
            payload = json!({ "group_id": world.group, "initial_event": message, "visitor": visitor });
        }
        Action::UpdateVisitor => payload = visitor,
        Action::SetPage => payload = json!({ "url": "https://shop.example/", "title": "Shop" }),
        Action::ListEvents => drop(payload.as_object_mut().unwrap().remove("after_seq")),
        Action::ListConversations => payload["subscribe"] = json!(false),
        Action::Transfer => {
            payload["to"] = json!({ "group_id": world.group });
        }
        _ => {}
    }
    payload
}

#[tokio::test]
async fn every_field_of_a_session_is_refused_by_name_when_it_is_wrong() {
    let world = World::new().await;
    let edge = world.edge().await;
    let shape = shape_of::<WidgetSession>();
    let post = async |body: &Value| http::post(edge.at, "/v1/widget/session", body).await;
    for Bad { payload, pointer, why } in malformed(&shape, &shape.sample(), "") {
        let answer = post(&payload).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("invalid_request")),
            "{why} {pointer}"
        );
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{why}");
    }
    let mut good = shape.sample();
    let more = json!({
        "name": "Ada", "email": "ada@example.com", "initial_message": "Hello", "initial_client_id": "m-1",
        "group_id": world.group, "external_id": "crm-17", "custom": { "key": "value" },
    });
    for (name, value) in world.session_body([1; 32], more).as_object().unwrap() {
        good[name] = value.clone();
    }
    good.as_object_mut().unwrap().remove("identity_token");
    for place in bounded(&shape) {
        let TooLarge::Refused(value, code) = too_large("session", &place) else { continue };
        let mut body = good.clone();
        body[&place[1..]] = value;
        let answer = post(&body).await;
        assert_eq!(answer.body["code"], code, "{place}: {answer:?}");
        let named = code == "not_found" || answer.body["errors"][0]["pointer"] == place;
        assert!(named, "{place}: {answer:?}");
    }
    assert_eq!(world.log.end().await.unwrap().last, 0, "nothing was written");
}
