//! What a client says on its socket, and what is answered.

mod actions;
mod bad_frames;
mod deadlines;
mod login;
mod parting;
mod place;
mod reader;
pub mod request;
mod send;
mod silence;
mod who;
mod write;

pub use actions::page_of;
pub use login::Session;
pub use reader::{Opening, serve};
pub use request::{body, payload};
pub use who::{Denied, Known, Who, authenticate};
