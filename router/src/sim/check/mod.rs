//! The invariants of design §4, as the log shows them and as each decision is made.

mod admission;
mod decision;
mod leaving;
mod ledger;
mod threads;
pub mod walls;

pub use ledger::{Kept, Ledger};

/// Its name, and what was found.
pub type Found = (&'static str, String);
