//! What if: the recorded log once more through the same core, with other settings.
//!
//! What people did is taken from the log: who started when, how long a thread took once an agent had it, when a visitor
//! gave up, who was there and accepted chats. What the router did is done anew. Of groups where people take threads, or
//! accept offers of them, no log says what they would do: their threads are left out. Nothing here does IO.

mod measure;
mod play;
mod recording;

pub use measure::{Figures, Measure};
pub use play::{Change, left_to_people, play};
pub use recording::{Entry, Recording};
