//! `docs/asyncapi.json`: the socket in AsyncAPI 3, from the tables and the types themselves.

use std::collections::BTreeSet;

use bus_schema::{
    AgentId, Author, ClientId, CommandId, ConversationId, ErrorCode, EventId, TenantId, ThreadId, Timestamp,
    Visibility, VisitorId, WidgetId,
    command::Outcome,
    event::{self as data, Body, Kind},
    protocol::{Action, ErrorPayload, PROTOCOL, PushAction},
    state::{Avoid, CommandRecord, DeskState, Extra, LifeState, Priority, ThreadStatus},
};
use ops::testing::shape::{Schemas, Shape, shape_by, shape_of};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Shaped, hold};

#[test]
fn the_document_is_that_of_the_types() {
    let document = document();
    assert_refers_to_itself(&document, &document);
    hold("asyncapi.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
}

#[test]
fn every_action_answer_and_push_is_in_it() {
    let document = document();
    let (messages, operations) = (&document["components"]["messages"], &document["operations"]);
    for action in Action::ALL {
        let name = action.name();
        assert_eq!(operations[name]["action"], "receive", "{name}");
        assert!(
            messages[format!("{name}.request")].is_object() && messages[format!("{name}.answer")].is_object()
        );
    }
    for push in PushAction::ALL {
        assert_eq!(operations[format!("push.{}", push.name())]["action"], "send");
        assert!(messages[format!("push.{}", push.name())].is_object());
    }
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut messages = Map::new();
    let mut operations = Map::new();
    refusals(&mut schemas, &mut messages);
    for action in Action::ALL {
        let name = action.name();
        messages.insert(format!("{name}.request"), request(*action, &mut schemas));
        messages.insert(format!("{name}.answer"), answer(*action, &mut schemas));
        operations.insert(name.to_owned(), asked(*action));
    }
    for push in PushAction::ALL {
        let name = format!("push.{}", push.name());
        messages.insert(name.clone(), pushed(*push, &mut schemas));
        let message = reference("channels/socket/messages", &name);
        operations.insert(
            name,
            json!({ "action": "send", "channel": { "$ref": "#/channels/socket" }, "messages": [message] }),
        );
    }
    let on_the_channel: Map<String, Value> =
        messages.keys().map(|name| (name.clone(), reference("components/messages", name))).collect();
    let (said, event) = (said(&mut schemas), event(&mut schemas));
    let mut named: Map<String, Value> =
        schemas.named().into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    named.insert("Said".to_owned(), said);
    named.insert("Event".to_owned(), event);
    named["EventPush"]["properties"]["event"] = reference("components/schemas", "Event");
    for holder in ["Conv", "EventPage"] {
        let items = named[holder]["properties"]["events"].pointer_mut(if holder == "Conv" {
            "/anyOf/0/items"
        } else {
            "/items"
        });
        *items.expect("a list") = reference("components/schemas", "Event");
    }
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    named["ErrorBody"]["properties"]["code"] = json!({ "type": "string", "examples": codes });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chatbus: the socket of an edge",
            "version": PROTOCOL.to_string(),
            "description": "Generated from the types that the edge decodes and encodes with. \
                docs/protocol.md explains it. Readers ignore fields, kinds and actions that they do not know.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "edge": {
                "host": "{host}",
                "protocol": "wss",
                "pathname": "/v1/ws",
                "variables": { "host": { "default": "localhost:7700", "description": "an edge" } },
            },
        },
        "channels": {
            "socket": {
                "address": null,
                "title": "one connection",
                "servers": [{ "$ref": "#/servers/edge" }],
                "messages": on_the_channel,
            },
        },
        "operations": operations,
        "components": { "messages": messages, "schemas": named },
    })
}

fn reference(at: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/{at}/{name}") })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A frame whose `action` has this name.
fn message(name: &str, title: String, frame: Value) -> Value {
    json!({ "name": name, "title": title, "contentType": "application/json", "payload": frame })
}

fn request_id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 64 })
}

fn request(action: Action, schemas: &mut Schemas) -> Value {
    let shape = action.request(Shaped);
    let may_be_absent =
        matches!(&shape, Shape::Object(object) if object.fields.iter().all(|field| !field.required));
    let properties = json!({
        "request_id": request_id(),
        "action": { "const": action.name() },
        "payload": schemas.of(&shape),
    });
    let required: &[&str] =
        if may_be_absent { &["request_id", "action"] } else { &["request_id", "action", "payload"] };
    let mut frame = object(properties, required);
    frame["additionalProperties"] = json!(false);
    let mut message = message(action.name(), format!("ask: {}", action.name()), frame);
    message["x-who"] = json!(format!("{:?}", action.who()));
    message
}

fn response(action: Value, success: bool, payload: Value) -> Value {
    let properties = json!({
        "request_id": request_id(),
        "action": action,
        "type": { "const": "response" },
        "success": { "const": success },
        "payload": payload,
    });
    object(properties, &["request_id", "action", "type", "success", "payload"])
}

fn answer(action: Action, schemas: &mut Schemas) -> Value {
    let payload = schemas.of(&action.answer(Shaped));
    let frame = response(json!({ "const": action.name() }), true, payload);
    message(action.name(), format!("answer: {}", action.name()), frame)
}

fn refusals(schemas: &mut Schemas, messages: &mut Map<String, Value>) {
    let payload = schemas.of(&shape_of::<ErrorPayload>());
    let frame = response(json!({ "type": "string" }), false, payload);
    messages.insert("refusal".to_owned(), message("refusal", "answer: refused".to_owned(), frame));
}

fn asked(action: Action) -> Value {
    let message = |name: String| reference("channels/socket/messages", &name);
    let name = action.name();
    json!({
        "action": "receive",
        "channel": { "$ref": "#/channels/socket" },
        "messages": [message(format!("{name}.request"))],
        "reply": {
            "channel": { "$ref": "#/channels/socket" },
            "messages": [message(format!("{name}.answer")), message("refusal".to_owned())],
        },
    })
}

fn pushed(push: PushAction, schemas: &mut Schemas) -> Value {
    let mut payloads: Vec<Value> = push.payloads(Shaped).iter().map(|shape| schemas.of(shape)).collect();
    let payload = if payloads.len() == 1 { payloads.remove(0) } else { json!({ "anyOf": payloads }) };
    let properties =
        json!({ "type": { "const": "push" }, "action": { "const": push.name() }, "payload": payload });
    let frame = object(properties, &["type", "action", "payload"]);
    message(push.name(), format!("push: {}", push.name()), frame)
}

/// What people say: the data of an event by its kind.
fn said(schemas: &mut Schemas) -> Value {
    // In the lane of whoever may see it.
    let kinds = Kind::ALL.iter().filter(|kind| kind.lane(Visibility::All) != kind.lane(Visibility::Agents));
    let schemas: Vec<Value> = kinds.filter_map(|kind| of_kind(*kind, schemas)).collect();
    json!({ "description": "what the event of `send_event` holds", "anyOf": schemas })
}

/// An event as readers see it.
fn event(schemas: &mut Schemas) -> Value {
    let mut event = object(
        envelope(schemas),
        &["seq", "at", "v", "kind", "id", "tenant_id", "author", "visibility", "data"],
    );
    event["description"] = json!("what happened; the kind says what `data` holds");
    event["anyOf"] = Kind::ALL.iter().filter_map(|kind| of_kind(*kind, schemas)).collect();
    event
}

/// What all events have.
fn envelope(schemas: &mut Schemas) -> Value {
    let mut of = |shape: Shape| schemas.of(&shape);
    json!({
        "seq": of(shape_of::<u64>()),
        "at": of(shape_of::<Timestamp>()),
        "v": of(shape_of::<u8>()),
        "kind": of(shape_of::<String>()),
        "id": of(shape_of::<EventId>()),
        "cause": of(shape_of::<EventId>()),
        "tenant_id": of(shape_of::<TenantId>()),
        "conversation_id": of(shape_of::<ConversationId>()),
        "thread_id": of(shape_of::<ThreadId>()),
        "author": of(shape_of::<Author>()),
        "client_id": of(shape_of::<ClientId>()),
        "visibility": of(shape_of::<Visibility>()),
        "data": {},
    })
}

#[test]
fn an_event_has_the_fields_that_it_is_said_to_have() {
    let event = bus_schema::Event {
        id: EventId::NIL,
        cause: Some(uuid::Uuid::nil()),
        tenant_id: TenantId::NIL,
        conversation_id: Some(ConversationId::NIL),
        thread_id: Some(ThreadId::NIL),
        author: Author::SYSTEM,
        client_id: Some(ClientId::new("c-1").unwrap()),
        visibility: Visibility::All,
        body: Body::SkillsWaived(data::SkillsWaived { state: desk() }),
    };
    let seen = bus_schema::splice::splice(1, Timestamp::from_millis(0), &event.encode());
    let seen: Value = serde_json::from_slice(&seen).unwrap();
    let names =
        |fields: &Value| -> BTreeSet<String> { fields.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&seen), names(&envelope(&mut Schemas::default())));
}

/// The kind and its data; none: no conversation has it.
fn of_kind(kind: Kind, schemas: &mut Schemas) -> Option<Value> {
    let data = schemas.of(&data_of(kind)?);
    Some(object(json!({ "kind": { "const": kind.name() }, "data": data }), &["kind", "data"]))
}

fn data_of(kind: Kind) -> Option<Shape> {
    fn life<T: DeserializeOwned>() -> Shape {
        shape_by::<T>(&json!({ "state": self::life() }), "/state", "LifeState")
    }
    fn desk<T: DeserializeOwned>() -> Shape {
        shape_by::<T>(&json!({ "state": self::desk() }), "/state", "DeskState")
    }
    Some(match kind {
        Kind::Message => shape_of::<data::Message>(),
        Kind::RichMessage => shape_of::<data::RichMessage>(),
        Kind::File => shape_of::<data::File>(),
        Kind::Form => shape_of::<data::Form>(),
        Kind::FormFilled => shape_of::<data::FormFilled>(),
        Kind::MessageEdited => shape_of::<data::MessageEdited>(),
        Kind::MessageDeleted => shape_of::<data::MessageDeleted>(),
        Kind::Rated => shape_of::<data::Rated>(),
        Kind::TranscriptRequested => shape_of::<data::TranscriptRequested>(),
        Kind::Tagged => shape_of::<data::Tagged>(),
        Kind::Untagged => shape_of::<data::Untagged>(),
        Kind::Started => life::<data::Started>(),
        Kind::Queued => life::<data::Queued>(),
        Kind::Assigned => life::<data::Assigned>(),
        Kind::Transferred => life::<data::Transferred>(),
        Kind::Joined => life::<data::Joined>(),
        Kind::Left => life::<data::Left>(),
        Kind::AgentLost => life::<data::AgentLost>(),
        Kind::Idle => life::<data::Idle>(),
        Kind::Closed => life::<data::Closed>(),
        Kind::Reopened => life::<data::Reopened>(),
        Kind::Decided => desk::<data::Decided>(),
        Kind::Offered => desk::<data::Offered>(),
        Kind::Declined => desk::<data::Declined>(),
        Kind::Unanswered => desk::<data::Unanswered>(),
        Kind::PrioritySet => desk::<data::PrioritySet>(),
        Kind::SkillsSet => desk::<data::SkillsSet>(),
        Kind::SkillsWaived => desk::<data::SkillsWaived>(),
        Kind::Delivered => shape_of::<data::Delivered>(),
        Kind::Read => shape_of::<data::Read>(),
        Kind::VisitorSeen
        | Kind::VisitorUpdated
        | Kind::VisitorBanned
        | Kind::VisitorUnbanned
        | Kind::VisitorErased
        | Kind::AgentConnected
        | Kind::AgentDisconnected
        | Kind::AgentStatusSet
        | Kind::AgentCapacitySet
        | Kind::AgentLoad => return None,
    })
}

/// With everything in it that is left out where there is nothing.
fn life() -> LifeState {
    LifeState {
        thread_id: ThreadId::NIL,
        status: ThreadStatus::Active,
        group_id: None,
        assignee_id: None,
        participants: Vec::new(),
        started_at: Timestamp::from_millis(0),
        started_seq: Some(1),
        visitor_id: VisitorId::NIL,
        widget_id: Some(WidgetId::NIL),
        previous_thread_id: Some(ThreadId::NIL),
        continues: true,
        extra: Extra::new(),
    }
}

/// The same.
fn desk() -> DeskState {
    let at = Timestamp::from_millis(0);
    DeskState {
        thread_id: ThreadId::NIL,
        queue: None,
        priority: Priority::Normal,
        skills: Vec::new(),
        skills_waived: false,
        offers: Vec::new(),
        avoid: vec![Avoid { agent_id: AgentId::NIL, until: at }],
        deadlines: Vec::new(),
        misses: 0,
        last_agent_id: None,
        last_assigned_at: Some(at),
        idle_since: Some(at),
        commands: vec![CommandRecord { command_id: CommandId::NIL, outcome: Outcome::DONE }],
        extra: Extra::new(),
    }
}

fn assert_refers_to_itself(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                let pointer = to.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
            }
            fields.values().for_each(|part| assert_refers_to_itself(document, part));
        }
        Value::Array(parts) => parts.iter().for_each(|part| assert_refers_to_itself(document, part)),
        _ => {}
    }
}
