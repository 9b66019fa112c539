//! `tenant-walls` over HTTP: every route of admin-api and of the edge, with ids of one's own, of another tenant and of
//! nobody, wherever an id may stand.

mod answer;
mod bodies;
mod dice;
mod fresh;
mod fuzz;
mod matrix;
mod scene;
pub mod targets;
mod tenant;

pub use answer::Answer;
pub use bodies::body;
pub use fuzz::settled;
pub use scene::Scene;
pub use tenant::Tenant;
