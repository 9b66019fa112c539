//! The conversation as edges and admin-api write and read it: start, send, look up, snapshot, pages, commands.
//!
//! Invariant: what is answered is what the log holds. A send is stored once for ever under its id, never after the
//! close of its thread; an outcome that is not known is resolved by reading, and only then told.

mod ascent;
mod ask;
mod back;
mod content;
mod descent;
mod fact;
mod form;
mod head;
mod lanes;
mod life;
mod lookup;
mod mark;
mod note;
mod older;
mod page;
mod past;
pub mod profile;
mod quiet;
mod rate;
mod refer;
mod retry;
mod rich;
mod send;
mod shown;
mod slice;
mod snapshot;
mod start;
mod tags;
mod threads;
mod visitor;
mod who;

pub use ascent::ascent;
pub use ask::{ask, command};
pub use content::{TextLimit, content};
pub use fact::fact;
pub use head::Head;
pub use lanes::{ends, some_ends};
pub use life::{Life, life};
pub use lookup::find;
pub use mark::{MarkKind, Marked, NewMark, mark};
pub use note::Note;
pub use page::{Page, PageRequest, page};
pub use past::AboveHorizon;
pub use quiet::{Newest, forget_quiet, newest};
pub use rate::{Rating, rate};
pub use refer::{Referred, Right, refer};
pub use rich::web_address;
pub use send::{Draft, Sent, first_write, send, send_after};
pub use shown::shown;
pub use slice::{Found, Span, slice, slice_ahead};
pub use snapshot::{Sight, Snapshot, Tail, snapshot, tail, tail_with_ends};
pub use start::{Initial, Start, Started, start};
pub use tags::{tags, tags_until};
pub use threads::{Threads, threads};
pub use visitor::{Hand, ProfileChange, Record, change_visitor, record, update_visitor};
pub use who::who;

use bus_schema::{ErrorBody, ErrorCode};

use crate::log::{ReadError, WriteError};

/// The log could not be read now.
fn unreadable(error: &ReadError) -> ErrorBody {
    match error {
        ReadError::TimedOut | ReadError::Unavailable => {
            ErrorBody::new(ErrorCode::Unavailable, "the log cannot be read now")
        }
        ReadError::TooMany | ReadError::Refused { .. } | ReadError::Malformed | ReadError::NoEpoch => {
            tracing::error!(%error, "the log refused a read");
            ErrorCode::Internal.into()
        }
    }
}

/// The log did not take a write, and trying again did not help.
fn unwritable(error: &WriteError) -> ErrorBody {
    match error {
        WriteError::Full => ErrorBody::new(ErrorCode::Unavailable, "the log is full"),
        WriteError::Unknown => ErrorCode::Timeout.into(),
        WriteError::Mismatch | WriteError::InFlight | WriteError::DuplicateInFlight => {
            ErrorBody::new(ErrorCode::Unavailable, "too many others write to this conversation now")
        }
        WriteError::Refused { .. } | WriteError::Invalid => {
            tracing::error!(%error, "the log refused a write");
            ErrorCode::Internal.into()
        }
    }
}

/// A stored state that this build cannot read: its subject takes no writes of ours.
fn frozen(subject: &str, error: &dyn std::fmt::Display) -> ErrorBody {
    tracing::error!(subject, %error, "a stored state cannot be read: its subject is frozen");
    metrics::counter!("chatbus_log_frozen_subjects_total").increment(1);
    ErrorCode::Internal.into()
}
