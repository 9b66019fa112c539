//! Every size and count limit of the system. What clients may need to know is [`Limits`], sent in `hello`.

use serde::{Deserialize, Serialize};

/// Limits of a connection: settings with these defaults, `0` = off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Limits {
    /// Longest text of a message, in bytes of UTF-8.
    pub text_bytes: u64,
    /// Largest WebSocket message, in bytes.
    pub message_bytes: u64,
    pub file_bytes: u64,
    /// Requests of one connection that are not answered yet.
    pub requests_in_flight: u64,
    /// Events a connection may send at once …
    pub events_burst: u64,
    /// … and each second from then on.
    pub events_per_second: u64,
    pub connections_per_visitor: u64,
    pub connections_per_agent: u64,
    /// Silence after which a connection is dead.
    pub dead_after_ms: u64,
    /// Bytes queued for a client before it counts as slow.
    pub outbox_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes: 16 * 1024,
            message_bytes: 64 * 1024,
            file_bytes: 10 * 1024 * 1024,
            requests_in_flight: 16,
            events_burst: 20,
            events_per_second: 5,
            connections_per_visitor: 8,
            connections_per_agent: 20,
            dead_after_ms: 60_000,
            outbox_bytes: 1024 * 1024,
        }
    }
}

/// A client that has not logged in by then is closed.
pub const LOGIN_WITHIN_MS: u64 = 5_000;
/// How long a client stays silent before it pings.
pub const PING_INTERVAL_MS: u64 = 25_000;
/// A third bad frame within this time closes the connection.
pub const BAD_FRAMES_WINDOW_MS: u64 = 10_000;
pub const BAD_FRAMES_MAX: usize = 3;
/// `token_expiring` comes this long before the end.
pub const TOKEN_EXPIRING_MS: u64 = 60_000;
/// Conversations in the answer to `login`; the rest by `list_conversations`.
pub const LOGIN_CONVERSATIONS_MAX: usize = 100;
/// Events in a conversation's snapshot.
pub const SNAPSHOT_EVENTS_MAX: usize = 50;
/// Items of one page of a list.
pub const PAGE_MAX: usize = 200;
pub const PAGE_DEFAULT: usize = 50;
/// Cursors in one `login`.
pub const RESUME_MAX: usize = 500;
/// Length of names, titles and labels, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// Length of e-mail addresses (RFC 5321).
pub const EMAIL_CHARS_MAX: usize = 254;
pub const EXTERNAL_ID_CHARS_MAX: usize = 200;
/// Custom fields of a visitor, and the length of a name and value in characters.
pub const CUSTOM_FIELDS_MAX: usize = 50;
pub const CUSTOM_KEY_CHARS_MAX: usize = 64;
pub const CUSTOM_VALUE_CHARS_MAX: usize = 1000;
pub const QUICK_REPLIES_MAX: usize = 10;
/// Elements of a rich message, how deep they nest, and the length of the addresses in them and of pages.
pub const ELEMENTS_MAX: usize = 20;
pub const ELEMENT_DEPTH_MAX: usize = 8;
pub const URL_BYTES_MAX: usize = 2_048;
/// A file that was uploaded and not sent within this time is removed.
pub const UPLOAD_UNUSED_MS: u64 = 3_600_000;
/// How long a link to a file counts.
pub const LINK_MS: u64 = 10 * 60_000;
/// Fields of a form, and the length of what is filled in.
pub const FORM_FIELDS_MAX: usize = 50;
pub const FORM_VALUE_CHARS_MAX: usize = 4_000;
/// Length of a rating's comment, in characters.
pub const COMMENT_CHARS_MAX: usize = 2_000;
/// Threads in one answer to `list_threads`.
pub const THREADS_MAX: usize = 200;
/// Bytes of a visitor key before base64url.
pub const VISITOR_KEY_BYTES: usize = 32;
/// How long a visitor may edit or delete a message of their own.
pub const VISITOR_EDIT_WITHIN_MS: u64 = 15 * 60_000;
/// How long after the close a thread may be rated.
pub const RATE_WITHIN_MS: u64 = 7 * 24 * 3_600_000;
/// Skills that an agent has, or a thread wants, and the length of each in characters.
pub const SKILLS_MAX: usize = 50;
pub const SKILL_CHARS_MAX: usize = 64;
/// Capacity of an agent.
pub const CAPACITY_MAX: u32 = 100;
/// An edge asks the router this long whether a group takes a start.
pub const ADMIT_WAIT_MS: u64 = 250;
/// An edge waits this long for the outcome of a command.
pub const COMMAND_WAIT_MS: u64 = 5_000;
/// Messages of one atomic batch (the server takes 1,000).
pub const BATCH_MESSAGES_MAX: usize = 64;
/// Largest stored payload, in bytes: a message plus its envelope, or a whole state.
pub const STORED_BYTES_MAX: usize = 256 * 1024;
