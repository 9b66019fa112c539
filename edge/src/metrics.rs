//! The edge's metrics: one table, and handles that are looked up once.
//!
//! Invariant: labels come from closed sets (roles, codes, actions, outcomes); never an id, an address or a text.

use std::collections::BTreeMap;

use bus_schema::{close::CloseCode, error::ErrorCode, protocol::Action};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use ops::metrics::{Metric, counter as counter_of, gauge as gauge_of, histogram as histogram_of};

const CONNECTIONS: &str = "chatbus_edge_connections";
const OPENED: &str = "chatbus_edge_connections_opened_total";
const CLOSED: &str = "chatbus_edge_connections_closed_total";
const HANDSHAKES_FAILED: &str = "chatbus_edge_handshake_failures_total";
const LIFETIME: &str = "chatbus_edge_connection_lifetime_seconds";
const FRAMES: &str = "chatbus_edge_frames_total";
const FRAME_BYTES: &str = "chatbus_edge_frame_bytes_total";
const REQUESTS: &str = "chatbus_edge_requests_total";
const REQUEST_SECONDS: &str = "chatbus_edge_request_seconds";
const PUBLISHED: &str = "chatbus_edge_events_published_total";
const DELIVERED: &str = "chatbus_edge_events_delivered_total";
const DELIVERY_SECONDS: &str = "chatbus_edge_delivery_seconds";
const LATE: &str = "chatbus_edge_events_late_total";
const REPAIRS: &str = "chatbus_edge_repairs_total";
const RESUMES: &str = "chatbus_edge_resumes_total";
const REPLAYED: &str = "chatbus_edge_replayed_events_total";
const ROOMS: &str = "chatbus_edge_subscribed_conversations";
const LIMITED: &str = "chatbus_edge_refused_total";
const FILE_BYTES: &str = "chatbus_edge_file_bytes_total";
const WRITES: &str = "chatbus_edge_socket_writes_total";

pub const TABLE: &[Metric] = &[
    gauge_of(CONNECTIONS, "Connections that are logged in, by role."),
    counter_of(OPENED, "Logins that succeeded, by role."),
    counter_of(CLOSED, "Connections that ended, by close code."),
    counter_of(HANDSHAKES_FAILED, "Connections refused before their login succeeded, by reason."),
    histogram_of(LIFETIME, "How long connections lasted."),
    counter_of(FRAMES, "WebSocket frames, by direction."),
    counter_of(FRAME_BYTES, "Bytes of WebSocket frames, by direction."),
    counter_of(REQUESTS, "Requests on sockets, by action and outcome."),
    histogram_of(REQUEST_SECONDS, "Time from a request to its answer, of sends and of all others."),
    counter_of(PUBLISHED, "Events that clients sent and the log stored."),
    counter_of(DELIVERED, "Events queued for clients."),
    histogram_of(DELIVERY_SECONDS, "Time from storing an event to queueing it for the local readers."),
    counter_of(LATE, "Events delivered after a later one of another lane."),
    counter_of(REPAIRS, "Reads of the log that a gap or a doubt made necessary."),
    counter_of(RESUMES, "Resumed conversations, by outcome."),
    counter_of(REPLAYED, "Missed events sent to clients that resumed."),
    gauge_of(ROOMS, "Conversation audiences with a local reader."),
    counter_of(LIMITED, "What was refused because there is too much of it, by limit."),
    counter_of(FILE_BYTES, "Bytes of files, by direction."),
    counter_of(WRITES, "Writes to sockets; frames that wait together share one."),
];

/// Why a connection did not come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Origin,
    Auth,
    Capacity,
    Protocol,
    Timeout,
}

macro_rules! limits {
    ($($variant:ident $name:literal;)*) => {
        /// Which limit refused something.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit { $($variant,)* }

        impl Limit {
            const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

limits! {
    Connections "connections";
    AddressConnections "connections_per_address";
    AddressSessions "sessions_per_address";
    WidgetSessions "sessions_per_widget";
    AddressLogins "logins_per_address";
    WaitingLogins "waiting_logins";
    AddressWaitingLogins "waiting_logins_per_address";
    LoginQueue "login_queue";
    RequestsInFlight "requests_in_flight";
    ConnectionEvents "events_per_connection";
    SendQueue "send_queue";
    TenantEvents "tenant_events";
    TenantBytes "tenant_bytes";
    TenantStarts "tenant_starts";
    TenantFileBytes "tenant_file_bytes";
    PersonUploads "uploads_per_person";
    Uploads "uploads_at_once";
    PersonUploadsAtOnce "uploads_at_once_per_person";
    ReserveMarks "reserve_marks";
    ReserveEvents "reserve_events";
}

/// Handles of all of them.
#[derive(Debug)]
pub struct Measures {
    pub visitors: Gauge,
    pub agents: Gauge,
    pub visitors_opened: Counter,
    pub agents_opened: Counter,
    closed: BTreeMap<u16, Counter>,
    closed_other: Counter,
    refused: [Counter; 5],
    limited: Vec<Counter>,
    pub lifetime: Histogram,
    pub frames_in: Counter,
    pub frames_out: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    requests_ok: BTreeMap<Action, Counter>,
    pub send_seconds: Histogram,
    pub other_seconds: Histogram,
    pub published: Counter,
    pub delivered: Counter,
    pub delivery_seconds: Histogram,
    pub late: Counter,
    pub repairs: Counter,
    pub resumed: Counter,
    pub reset: Counter,
    pub replayed: Counter,
    pub rooms: Gauge,
    pub file_bytes_in: Counter,
    pub file_bytes_out: Counter,
    pub writes: Counter,
}

impl Measures {
    pub fn new() -> Self {
        ops::metrics::describe(TABLE);
        let refused = |reason: &'static str| counter!(HANDSHAKES_FAILED, "reason" => reason);
        Self {
            visitors: gauge!(CONNECTIONS, "role" => "visitor"),
            agents: gauge!(CONNECTIONS, "role" => "agent"),
            visitors_opened: counter!(OPENED, "role" => "visitor"),
            agents_opened: counter!(OPENED, "role" => "agent"),
            closed: CloseCode::ALL
                .iter()
                .map(|code| (code.number(), counter!(CLOSED, "code" => code.name())))
                .collect(),
            closed_other: counter!(CLOSED, "code" => "by_client"),
            refused: ["origin", "auth", "capacity", "protocol", "timeout"].map(refused),
            limited: Limit::NAMES.iter().map(|name| counter!(LIMITED, "limit" => *name)).collect(),
            lifetime: histogram!(LIFETIME),
            frames_in: counter!(FRAMES, "direction" => "in"),
            frames_out: counter!(FRAMES, "direction" => "out"),
            bytes_in: counter!(FRAME_BYTES, "direction" => "in"),
            bytes_out: counter!(FRAME_BYTES, "direction" => "out"),
            requests_ok: Action::ALL
                .iter()
                .map(|action| (*action, counter!(REQUESTS, "action" => action.name(), "outcome" => "ok")))
                .collect(),
            send_seconds: histogram!(REQUEST_SECONDS, "kind" => "send"),
            other_seconds: histogram!(REQUEST_SECONDS, "kind" => "other"),
            published: counter!(PUBLISHED),
            delivered: counter!(DELIVERED),
            delivery_seconds: histogram!(DELIVERY_SECONDS),
            late: counter!(LATE),
            repairs: counter!(REPAIRS),
            resumed: counter!(RESUMES, "outcome" => "resumed"),
            reset: counter!(RESUMES, "outcome" => "reset"),
            replayed: counter!(REPLAYED),
            rooms: gauge!(ROOMS),
            file_bytes_in: counter!(FILE_BYTES, "direction" => "in"),
            file_bytes_out: counter!(FILE_BYTES, "direction" => "out"),
            writes: counter!(WRITES),
        }
    }

    /// A request was answered.
    pub fn answered(&self, action: Action, error: Option<ErrorCode>) {
        match (error, self.requests_ok.get(&action)) {
            (None, Some(counter)) => counter.increment(1),
            (None, None) => {}
            // Failures are rare enough to be looked up.
            (Some(code), _) => {
                counter!(REQUESTS, "action" => action.name(), "outcome" => code.name()).increment(1);
            }
        }
    }

    /// A connection ended; none: the client closed it or went away.
    pub fn closed(&self, code: Option<CloseCode>) {
        let counter = code.and_then(|code| self.closed.get(&code.number()));
        counter.unwrap_or(&self.closed_other).increment(1);
    }

    pub fn limited(&self, limit: Limit) {
        self.limited[limit as usize].increment(1);
    }

    pub fn refused(&self, reason: Refused) {
        self.refused[reason as usize].increment(1);
    }
}
