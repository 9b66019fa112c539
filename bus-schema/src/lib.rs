//! The contract between Chatbus services: ids, events, states, commands, subjects, and what clients see.
//!
//! Pure types: no clock, no randomness, no IO, no async. Everything that crosses a process boundary is defined
//! here once, so that two services cannot disagree about a byte of it.
//!
//! Where to look:
//! - [`id`], [`time`]: the words every record is made of
//! - [`event`]: what is stored in the log; [`state`]: the whole states that some events carry
//! - [`subject`], [`stream`]: where it is stored; [`splice`]: how a reader puts `seq` and `at` in front
//! - [`refusal`]: what the server's error numbers mean to a writer
//! - [`mod@file`]: files beside the log
//! - [`history`]: requests for events that the log no longer has
//! - [`command`]: requests on the bus and their single outcome; [`signal`]: what is never stored
//! - [`config`]: the configuration that travels from admin-api to edges and routers; [`skill`]: what agents and threads
//!   are matched by
//! - [`protocol`]: what clients send and receive; [`error`], [`close`]: the two code tables; [`limits`]
//! - [`claims`]: what tokens say
//! - `openapi` (a feature of that name): how all this looks in OpenAPI, where a type cannot say it by itself

pub mod claims;
pub mod close;
pub mod command;
pub mod config;
pub mod cursor;
pub mod erasure;
pub mod error;
pub mod event;
pub mod file;
pub mod history;
pub mod hours;
pub mod id;
pub mod limits;
pub mod object;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod problem;
pub mod protocol;
pub mod refusal;
pub mod routing;
pub mod signal;
pub mod skill;
pub mod splice;
pub mod state;
pub mod stream;
pub mod subject;
pub mod tally;
pub mod time;

pub use error::{ErrorBody, ErrorCode, FieldError};
pub use event::{Author, AuthorType, Body, Event, Visibility};
pub use id::*;
pub use subject::{Audience, Lane, Shard, Subject};
pub use time::Timestamp;
