//! The edge against a real nats-server and real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod after;
mod agents;
mod bad_input;
mod client;
mod desk;
mod first_light;
mod frames;
mod http;
mod leaving;
mod marks;
mod origins;
mod races;
mod resume;
mod said;
mod signals;
mod slow;
mod standing;
mod watch;
mod world;
