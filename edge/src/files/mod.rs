//! Files as people send them: read from a form, judged by their bytes, handed out by links that end.

mod form;
mod link;
mod name;
mod sniff;
mod sweep;

pub use form::{Form, Step, boundary};
pub use link::Links;
pub use name::{clean, disposition};
pub use sniff::{HEAD_BYTES, sniff};
pub use sweep::start;
