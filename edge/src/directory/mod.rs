//! The configuration as this edge knows it: tenants, widgets, groups and agents, from the KV bucket `config`.

mod index;
mod origin;
mod watch;

pub use index::{Directory, Index};
pub use origin::{Origin, origin_of_url};
pub use watch::follow;
