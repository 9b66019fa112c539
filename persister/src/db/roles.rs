//! The roles as which services work in Postgres, and the wall of a tenant around a transaction.
//!
//! Invariant: none of them is a superuser or may pass row-level security; a service logs in as whoever its
//! `DATABASE_URL` names, who is a member of its roles, and works as them from its first statement on.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};

use super::DbError;

/// Writes schema `chat` of all tenants; knows nothing else.
pub const PERSISTER: &str = "chatbus_persister";
/// What admin-api does for no tenant in particular, or before it knows which.
pub const SYSTEM: &str = "chatbus_system";
/// The rows of one tenant: what admin-api does for somebody.
pub const TENANT: &str = "chatbus_tenant";

pub const ALL: [&str; 3] = [PERSISTER, SYSTEM, TENANT];

/// Begins a transaction that sees the rows of `tenant` alone, for whom `end` ends it.
pub fn begin_within(tenant: bus_schema::TenantId, read_only: bool) -> String {
    let mode = if read_only { " READ ONLY" } else { "" };
    format!("BEGIN{mode}; SET LOCAL ROLE {TENANT}; SET LOCAL chatbus.tenant = '{tenant}'")
}

/// Makes the roles where they are missing, and whoever migrates a member of them. They are of the whole server, so no
/// migration takes them back.
pub(super) async fn make(connection: &mut AsyncPgConnection) -> Result<(), DbError> {
    for role in ALL {
        // Two databases of one server may be migrated at once.
        let made = format!(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                     CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;
                 END IF;
                 IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN
                     GRANT {role} TO CURRENT_USER;
                 END IF;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$"
        );
        connection.batch_execute(&made).await?;
    }
    Ok(())
}
