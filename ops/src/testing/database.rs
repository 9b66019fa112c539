//! A database of a test's own.
//!
//! No two tests share one, so none has to clean up after itself.

use std::sync::atomic::{AtomicU32, Ordering};

use super::postgres::Postgres;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database on a test's Postgres; it goes with the server.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a Postgres,
    name: String,
}

impl<'a> Database<'a> {
    pub(super) async fn create(server: &'a Postgres, template: Option<&str>) -> Self {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let template = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        let created = server.execute(&format!("CREATE DATABASE {name}{template}")).await;
        created.unwrap_or_else(|error| panic!("{}", crate::dev::explain(&error)));
        Self { server, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Drops it now, with whoever is connected.
    pub async fn drop_now(self) {
        let dropped = self.server.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
        dropped.unwrap_or_else(|error| panic!("{}", crate::dev::explain(&error)));
    }
}
