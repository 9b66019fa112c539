//! The service over HTTP, on a real Postgres and a real nats-server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod agents;
mod api_tokens;
mod audit_log;
mod bad_fields;
mod chat;
mod config;
mod conversations;
mod crud;
mod desk_work;
mod erasure;
mod export;
mod hands;
mod http;
mod identity;
mod invitations;
mod keys;
mod mailbox;
mod min_seq;
mod oidc;
mod older;
mod openapi;
mod outbox;
mod paging;
mod passwords;
mod plans;
mod postman;
mod process;
mod purge;
mod retention;
mod routing;
mod search;
mod search_at_size;
mod second_factor;
mod sessions;
mod stale;
mod tenancy;
mod tokens;
mod visitors;
mod visitors_online;
mod wall;
mod world;
