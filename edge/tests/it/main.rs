//! The edge against a real nats-server and real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod admission;
mod after;
mod agents;
mod autobahn;
mod bad_fields;
mod bad_input;
mod budgets;
mod client;
mod counted;
mod counts;
mod desk;
mod desk_work;
mod fields;
mod files;
mod files_gone;
mod first_light;
mod floor;
mod foreign_bytes;
mod frames;
mod gone;
mod http;
mod identity;
mod intake;
mod leaving;
mod listening;
mod marks;
mod origins;
mod overload;
mod people;
mod permissions;
mod protocol;
mod races;
mod resume;
mod retries;
mod routed;
mod said;
mod shim;
mod signals;
mod slow;
mod standing;
mod talk;
mod tokens;
mod watch;
mod world;
