//! Mails: queued in the transaction that is their reason, sent in the background.

mod letter;
mod queue;
mod sender;
mod transport;

pub use queue::{Kind, enqueue, forget, invite};
pub use sender::sender;
pub use transport::Transport;
