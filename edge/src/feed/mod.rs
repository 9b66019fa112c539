//! Delivering the log: what a conversation's local readers get, in order, none missing.

mod core;
#[cfg(test)]
mod tests;

pub use self::core::{Action, Asked, Copy, Entry, Feed, Wanted};
