//! What every handler is given.

use std::{ops::Deref, sync::Arc};

use axum::extract::FromRef;
use bus_schema::{ErrorBody, ErrorCode, IncarnationId, TenantId};
use ops::{
    files::{self, Files},
    nats::Bus,
    peer::Proxies,
    settings::{Settings, names},
};
use persister::db::Pool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    auth::{Budgets, Passwords, Providers, Tokens},
    bus::Link,
    clock::Calendar,
    db::{By, Change, Within},
    http::{Origins, Problem},
};

/// Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    settings: Settings,
    /// Sees all tenants: for what is of none, or is asked before it is known of which.
    pub pool: Pool,
    pub tokens: Tokens,
    pub passwords: Passwords,
    pub budgets: Budgets,
    pub origins: Origins,
    pub proxies: Proxies,
    pub bus: Link,
    /// Wakes the publisher.
    pub wake: Arc<Notify>,
    /// Wakes who erases.
    pub erase: Arc<Notify>,
    /// Wakes who looks for visitors whom their tenants do not want to know any longer.
    pub lapse: Arc<Notify>,
    pub calendar: Calendar,
    /// This process, as a writer of the log.
    pub incarnation: IncarnationId,
    /// Wakes who sends mails.
    pub mail_wake: Arc<Notify>,
    /// Where else people may log in.
    pub providers: Providers,
    /// Where people work.
    pub console: String,
    pub registration_open: bool,
    /// Bytes of a request's body.
    pub body_max: usize,
    pub text_max: usize,
}

impl App {
    pub fn new(
        settings: &Settings,
        pool: Pool,
        tokens: Tokens,
        bus: Link,
        providers: Providers,
        calendar: Calendar,
    ) -> Self {
        let bytes = |name| settings.limit(name).and_then(|limit| usize::try_from(limit).ok());
        Self(Arc::new(Shared {
            settings: settings.clone(),
            pool,
            tokens,
            passwords: Passwords::new(),
            budgets: Budgets::from_settings(settings),
            origins: Origins::from_settings(settings),
            proxies: Proxies::parse(settings.list(names::TRUSTED_PROXIES))
                .expect("the settings were validated as networks"),
            bus,
            wake: Arc::new(Notify::new()),
            erase: Arc::new(Notify::new()),
            lapse: Arc::new(Notify::new()),
            calendar,
            incarnation: IncarnationId::from_uuid(Uuid::now_v7()),
            mail_wake: Arc::new(Notify::new()),
            providers,
            console: settings.text(names::CONSOLE_URL).to_owned(),
            registration_open: settings.text(names::REGISTRATION) == "open",
            body_max: bytes(names::LIMIT_MESSAGE_BYTES).unwrap_or(BODY_CEILING),
            text_max: bytes(names::LIMIT_TEXT_BYTES).unwrap_or(BODY_CEILING),
        }))
    }

    /// The rows of one tenant, for reading.
    pub async fn within(&self, tenant: TenantId) -> Result<Within, Problem> {
        Within::read(&self.pool, tenant).await
    }

    /// The same, for writing what has no revision.
    pub async fn writing(&self, tenant: TenantId) -> Result<Within, Problem> {
        Within::write(&self.pool, tenant).await
    }

    /// The store of files, which little here needs.
    pub async fn files(&self, bus: &Bus) -> Result<Files, ErrorBody> {
        let store = files::store(&self.settings, bus).map_err(ErrorBody::from)?;
        Files::open(bus, store).await.map_err(|error| {
            tracing::warn!(%error, "the store of files cannot be opened now");
            ErrorBody::new(ErrorCode::Unavailable, "the bus is away")
        })
    }

    pub async fn change(&self, by: By) -> Result<Change, Problem> {
        Change::begin(&self.pool, &self.wake, by).await
    }
}

/// What holds where the limits are switched off: a body is still held in memory.
const BODY_CEILING: usize = 16 * 1024 * 1024;

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl FromRef<App> for Proxies {
    fn from_ref(app: &App) -> Self {
        app.proxies.clone()
    }
}
