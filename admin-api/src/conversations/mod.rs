//! Conversations: read from the read model, acted on through the router and the log.

mod act;
mod bulk;
mod change;
mod events;
mod fold;
mod get;
mod list;
mod mine;
mod now;
mod read;
mod routing;
mod said;
mod scope;
mod search;
mod send;
mod sift;
mod tagged;
mod tags;
mod then;
mod threads;
mod transcript;
mod view;
mod wishes;
mod words;

pub use act::{
    Acted, Assign, CloseThread, Reopen, Transfer, Transferred, assign, close, reopen, resolve, transfer,
};
pub use bulk::{Bulk, BulkResults, bulk};
pub use change::{EditEvent, delete_event, edit_event};
pub use events::{EventList, Lanes, Of, Way, events, page, record_page, thread_events};
pub use get::{MinSeq, get};
pub use list::{Status, View, list};
pub use mine::mine;
pub use read::{ReadUpTo, UnreadCount, read_all, read_event, unread_count};
pub use routing::{Routed, routing};
pub use scope::{Current, Scope};
pub use search::{Hit, search, search_in};
pub use send::{SendEvent, Sent, send, send_to_thread};
pub use tags::{put_tag, remove_tag};
pub use threads::{ThreadRecord, thread, threads, threads_page};
pub use transcript::transcript;
pub use view::{ConversationDetail, ConversationView};
pub use wishes::{PutPriority, PutSkills, ThreadPriority, ThreadSkills, put_priority, put_skills};
