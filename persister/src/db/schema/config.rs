//! Schema `config`: what admin-api keeps, and alone writes.
//!
//! Its migrations are in `migrations/config`, and every table of them has its `diesel::table! { config.… }` here.
