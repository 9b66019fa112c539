//! The edge against a real nats-server and real sockets.

mod client;
mod desk;
mod first_light;
mod http;
mod world;
