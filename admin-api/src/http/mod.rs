//! What every HTTP answer has in common: problems, checked bodies, pages, tags, request ids.

mod body;
mod check;
mod etag;
mod finish;
mod idempotency;
mod origins;
mod page;
mod params;
mod peer;
mod problem;
mod request_id;

pub use body::{Body, Check, present};
pub use check::Checks;
pub use etag::{IfMatch, Tagged};
pub use finish::{RouteName, finish};
pub use idempotency::{ShowsSecret, remembered};
pub use origins::{Origins, cors};
pub use page::{List, Page, PageQuery, Position};
pub use params::{Ids, PathId, Query};
pub use peer::Peer;
pub use problem::Problem;
pub use request_id::RequestId;
