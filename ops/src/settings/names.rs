//! The name of each setting, without its `CHATBUS_` prefix.
//!
//! Invariant: code never spells a setting's name; it uses these, and `table::SETTINGS` has each once.

pub const AGENT_GRACE_MS: &str = "AGENT_GRACE_MS";
pub const CACHE_DIR: &str = "CACHE_DIR";
pub const CONSOLE_URL: &str = "CONSOLE_URL";
pub const CORS_ORIGINS: &str = "CORS_ORIGINS";
pub const DATABASE_POOL_MAX: &str = "DATABASE_POOL_MAX";
pub const DATABASE_URL: &str = "DATABASE_URL";
pub const GRACE_MS: &str = "GRACE_MS";
pub const INSTANCE: &str = "INSTANCE";
pub const LIMIT_CONNECTIONS_PER_ADDRESS: &str = "LIMIT_CONNECTIONS_PER_ADDRESS";
pub const LIMIT_CONNECTIONS_PER_AGENT: &str = "LIMIT_CONNECTIONS_PER_AGENT";
pub const LIMIT_CONNECTIONS_PER_VISITOR: &str = "LIMIT_CONNECTIONS_PER_VISITOR";
pub const LIMIT_DEAD_AFTER_MS: &str = "LIMIT_DEAD_AFTER_MS";
pub const LIMIT_EVENTS_BURST: &str = "LIMIT_EVENTS_BURST";
pub const LIMIT_EVENTS_PER_SECOND: &str = "LIMIT_EVENTS_PER_SECOND";
pub const LIMIT_EVENTS_PER_SECOND_PER_TENANT: &str = "LIMIT_EVENTS_PER_SECOND_PER_TENANT";
pub const LIMIT_FILE_BYTES: &str = "LIMIT_FILE_BYTES";
pub const LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS: &str = "LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS";
pub const LIMIT_MESSAGE_BYTES: &str = "LIMIT_MESSAGE_BYTES";
pub const LIMIT_OUTBOX_BYTES: &str = "LIMIT_OUTBOX_BYTES";
pub const LIMIT_REQUESTS_IN_FLIGHT: &str = "LIMIT_REQUESTS_IN_FLIGHT";
pub const LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS: &str = "LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS";
pub const LIMIT_TEXT_BYTES: &str = "LIMIT_TEXT_BYTES";
pub const LISTEN: &str = "LISTEN";
pub const LOG: &str = "LOG";
pub const LOG_FORMAT: &str = "LOG_FORMAT";
pub const NATS_CREDS_FILE: &str = "NATS_CREDS_FILE";
pub const NATS_MONITOR_URL: &str = "NATS_MONITOR_URL";
pub const NATS_REPLICAS: &str = "NATS_REPLICAS";
pub const NATS_URL: &str = "NATS_URL";
pub const NATS_WAIT_MS: &str = "NATS_WAIT_MS";
pub const OPS_LISTEN: &str = "OPS_LISTEN";
pub const PRIVATE_NETWORK: &str = "PRIVATE_NETWORK";
pub const PROFILE: &str = "PROFILE";
pub const PUBLIC_WS_URL: &str = "PUBLIC_WS_URL";
pub const REGISTRATION: &str = "REGISTRATION";
pub const SHARDS: &str = "SHARDS";
pub const SMTP_URL: &str = "SMTP_URL";
pub const STAFF_KEY_FILE: &str = "STAFF_KEY_FILE";
pub const STREAM_BYTES_MAX: &str = "STREAM_BYTES_MAX";
pub const TRUSTED_PROXIES: &str = "TRUSTED_PROXIES";
pub const UNVERIFIED_MS: &str = "UNVERIFIED_MS";
pub const VISITOR_KEY_FILE: &str = "VISITOR_KEY_FILE";
