//! The service over HTTP, on a real Postgres and a real nats-server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod agents;
mod chat;
mod config;
mod conversations;
mod crud;
mod desk_work;
mod erasure;
mod http;
mod matrix;
mod openapi;
mod outbox;
mod routing;
mod search;
mod world;
