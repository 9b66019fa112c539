//! The bus, which may be away: admin-api serves configuration without it.

mod ask;
mod compare;
mod history;
mod link;
mod publish;
mod who;

pub use history::historian;
pub use link::Link;
pub use publish::publisher;
