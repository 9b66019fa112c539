//! What each route of the edge takes and answers, and with which problems.

use bus_schema::{
    ErrorCode::{self, *},
    openapi::{Named, named, reference},
    protocol::{
        Conv, EventPage, RateBody, SendAnswer, Uploaded, WidgetConfig, WidgetSession, WidgetSessionAnswer,
    },
};
use edge::routes::Route;
use ops::testing::shape::Text;
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

/// What a request or an answer carries.
pub enum Content {
    Nothing,
    Json(Typed),
    /// A form with one field, the file.
    Form,
    Bytes,
}

/// A type as the documentation knows it.
pub struct Typed {
    pub reference: fn() -> RefOr<Schema>,
    /// Its schema, and those that it refers to.
    pub named: fn() -> Named,
}

fn json_of<T: ToSchema>() -> Content {
    Content::Json(Typed { reference: reference::<T>, named: named::<T> })
}

pub struct Operation {
    pub route: Route,
    pub summary: &'static str,
    pub about: &'static str,
    pub query: &'static [(&'static str, Text, &'static str)],
    pub takes: Content,
    /// Of what it takes.
    pub example: Option<Value>,
    pub status: u16,
    pub gives: Content,
    /// Besides those of [`ALWAYS`].
    pub problems: &'static [(u16, &'static [ErrorCode])],
}

/// What any operation may answer with.
pub const ALWAYS: [ErrorCode; 4] = [RateLimited, Internal, Unavailable, Timeout];

const OF_TOKEN: (u16, &[ErrorCode]) = (401, &[Unauthenticated]);
const OF_PAGE: (u16, &[ErrorCode]) = (403, &[OriginNotAllowed]);
const OF_PERSON: (u16, &[ErrorCode]) = (403, &[Banned, Forbidden, NotParticipant, OriginNotAllowed]);
const MISSING: (u16, &[ErrorCode]) = (404, &[NotFound]);
const MALFORMED: (u16, &[ErrorCode]) = (400, &[InvalidRequest]);
const WRONG: (u16, &[ErrorCode]) = (422, &[InvalidRequest]);
const LARGE: (u16, &[ErrorCode]) = (413, &[TooLarge]);

/// Everything but the pages and scripts of the widget and its demo.
pub fn all() -> Vec<Operation> {
    edge::routes::table().into_iter().map(described).collect()
}

fn described(route: Route) -> Operation {
    match route.name {
        "widget_session" => Operation {
            takes: json_of::<WidgetSession>(),
            example: Some(json!({
                "widget_key": "wk_0123456789abcdef01234567",
                "visitor_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
                "name": "Vera",
                "email": "vera@example.com",
                "initial_message": "Hello, where is my parcel?",
            })),
            gives: json_of::<WidgetSessionAnswer>(),
            problems: &[
                MALFORMED,
                (401, &[Unauthenticated]),
                (403, &[Banned, OriginNotAllowed]),
                MISSING,
                (409, &[GroupOffline, QueueFull, ThreadClosed]),
                LARGE,
                WRONG,
            ],
            ..of(route, "Begin as a visitor, or go on.")
        },
        "widget_config" => Operation {
            gives: json_of::<WidgetConfig>(),
            problems: &[MALFORMED, OF_PAGE, MISSING],
            ..of(route, "What a page needs to show the widget.")
        },
        "conversation" => Operation {
            gives: json_of::<Conv>(),
            problems: &[MALFORMED, OF_TOKEN, OF_PERSON, MISSING],
            ..of(route, "A conversation with its last events.")
        },
        "events" => Operation {
            query: &[
                ("before_seq", Text::Word, "The last ones below this sequence."),
                ("after_seq", Text::Word, "The first ones above this sequence."),
                ("limit", Text::Word, "Events of a page; at most 200."),
            ],
            gives: json_of::<EventPage>(),
            problems: &[MALFORMED, OF_TOKEN, OF_PERSON, MISSING, WRONG],
            ..of(route, "A page of its events.")
        },
        "rate" => Operation {
            about: "For visitors, once for each thread and within 7 days of its end.",
            takes: json_of::<RateBody>(),
            example: Some(json!({ "score": 5, "comment": "Quick and kind" })),
            gives: json_of::<SendAnswer>(),
            problems: &[
                MALFORMED,
                OF_TOKEN,
                OF_PERSON,
                MISSING,
                (409, &[AlreadyExists, Conflict, ThreadClosed]),
                LARGE,
                WRONG,
            ],
            ..of(route, "Say how it was.")
        },
        "upload" => Operation {
            about: "What comes back is the data of an event `file`, which names it before `expires_at`; else it is removed.",
            takes: Content::Form,
            status: 201,
            gives: json_of::<Uploaded>(),
            problems: &[
                MALFORMED,
                OF_TOKEN,
                OF_PERSON,
                MISSING,
                (408, &[Timeout]),
                LARGE,
                (415, &[UnsupportedMediaType]),
                WRONG,
            ],
            ..of(route, "Upload a file.")
        },
        "attachment" => Operation {
            about: "The address is one that the socket's `get_attachment` gave, and counts for ten minutes.",
            query: &[
                ("tenant", Text::Uuid, "As in the link."),
                ("expires", Text::Word, "As in the link."),
                ("signature", Text::Word, "As in the link."),
            ],
            gives: Content::Bytes,
            problems: &[(403, &[Forbidden, OriginNotAllowed]), MISSING],
            ..of(route, "Fetch a file by its link.")
        },
        "socket" => Operation {
            about: "The token goes into the socket's `login`, never into the address: see `docs/protocol.md`.",
            status: 101,
            problems: &[MALFORMED, OF_PAGE, (426, &[InvalidRequest])],
            ..of(route, "Become a WebSocket.")
        },
        "healthz" => of(route, "Whether this edge takes connections: 200 or 503."),
        other => panic!("say here what {other} takes and gives"),
    }
}

fn of(route: Route, summary: &'static str) -> Operation {
    Operation {
        route,
        summary,
        about: "",
        query: &[],
        takes: Content::Nothing,
        example: None,
        status: 200,
        gives: Content::Nothing,
        problems: &[],
    }
}
