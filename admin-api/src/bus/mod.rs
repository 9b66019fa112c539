//! The bus, which may be away: admin-api serves configuration without it.

mod compare;
mod link;
mod publish;

pub use link::Link;
pub use publish::publisher;
