//! Things of a tenant that are made, changed, deleted and restored: one mechanism for all of them.
//!
//! Invariant: deleting hides, restoring brings back exactly what was there, and both are a change like any other, with
//! a revision, an audit entry and, where edges and routers care, a record on the bus.

mod handlers;
mod macros;

pub use handlers::{delete, get, list, restore};
pub(crate) use macros::thing;

use std::future::Future;

use bus_schema::TenantId;
use diesel_async::AsyncPgConnection;
use persister::db::{At, Entity};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    audit_log::Audited,
    db::Change,
    http::{Page, Position, Problem, Tagged},
};

/// A row of schema `config` with a revision and `deleted_at`.
pub trait Thing: Sized + Clone + Send + Sync + 'static {
    type Id: Entity + std::str::FromStr + Send + Sync + 'static;
    type View: Serialize + Send;

    /// Its name in the audit log.
    const ENTITY: Audited;
    /// Where it is found over HTTP.
    const PATH: &'static str;

    fn uuid(&self) -> Uuid;
    fn revision(&self) -> i64;
    fn place(&self) -> Position;
    /// Changed now, and deleted or not.
    fn stamp(&mut self, revision: i64, now: At, deleted: Option<At>);
    fn deleted_at(&self) -> Option<At>;

    /// None: it is not there, or is deleted while `deleted` is not asked for, or the other way round.
    fn read(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        id: Self::Id,
        deleted: bool,
    ) -> impl Future<Output = Result<Option<Self>, Problem>> + Send;

    fn page(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        page: &Page,
        deleted: bool,
    ) -> impl Future<Output = Result<Vec<Self>, Problem>> + Send;

    fn insert(&self, change: &mut Change) -> impl Future<Output = Result<(), Problem>> + Send;

    fn update(&self, change: &mut Change) -> impl Future<Output = Result<(), Problem>> + Send;

    /// What clients see of them, in their order.
    fn views(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        rows: Vec<Self>,
    ) -> impl Future<Output = Result<Vec<Self::View>, Problem>> + Send;

    /// Tells edges and routers; what they do not need stays here.
    fn publish(&self, _: &mut Change) -> impl Future<Output = Result<(), Problem>> + Send {
        async { Ok(()) }
    }

    /// Refuses to delete what must stay.
    fn may_go(&self, _: &mut Change) -> impl Future<Output = Result<(), Problem>> + Send {
        async { Ok(()) }
    }

    /// What else changes when it comes or goes.
    fn came_or_went(&self, _: &mut Change) -> impl Future<Output = Result<(), Problem>> + Send {
        async { Ok(()) }
    }
}

/// What is to be changed; `not_found` if it is deleted.
pub async fn find<T: Thing>(change: &mut Change, id: T::Id) -> Result<T, Problem> {
    let tenant = change.tenant();
    T::read(change.connection(), tenant, id, false).await?.ok_or_else(Problem::not_found)
}

/// Adds a row that was stamped with this change.
pub async fn make<T: Thing>(change: &mut Change, row: &T) -> Result<(), Problem> {
    row.insert(change).await?;
    row.publish(change).await?;
    change.audit("created", T::ENTITY, row.uuid(), &[]).await
}

/// The same, with the answer that shows it.
pub async fn add<T: Thing>(change: &mut Change, row: T) -> Result<Tagged<T::View>, Problem> {
    make(change, &row).await?;
    shown_new(change, row).await
}

/// Writes a row that was changed in these fields.
pub async fn save<T: Thing>(
    change: &mut Change,
    row: &mut T,
    action: &str,
    fields: &[&str],
) -> Result<(), Problem> {
    let deleted = row.deleted_at();
    write(change, row, deleted, action, fields).await
}

async fn write<T: Thing>(
    change: &mut Change,
    row: &mut T,
    deleted: Option<At>,
    action: &str,
    fields: &[&str],
) -> Result<(), Problem> {
    row.stamp(change.revision, At(change.now), deleted);
    row.update(change).await?;
    row.publish(change).await?;
    change.audit(action, T::ENTITY, row.uuid(), fields).await
}

/// The answer that shows one of them.
pub async fn shown<T: Thing>(change: &mut Change, row: T) -> Result<Tagged<T::View>, Problem> {
    let tenant = change.tenant();
    tagged(change.connection(), tenant, row).await
}

/// The answer to having made one.
pub async fn shown_new<T: Thing>(change: &mut Change, row: T) -> Result<Tagged<T::View>, Problem> {
    let location = format!("{}/{}", T::PATH, row.uuid());
    let tagged = shown(change, row).await?;
    Ok(Tagged::created(location, tagged.revision, tagged.body))
}

async fn tagged<T: Thing>(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    row: T,
) -> Result<Tagged<T::View>, Problem> {
    let revision = row.revision();
    let view = T::views(connection, tenant, vec![row]).await?.pop().ok_or_else(Problem::not_found)?;
    Ok(Tagged::ok(revision, view))
}
