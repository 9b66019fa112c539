//! The four handlers that are the same for every thing.

use axum::{Json, extract::State};
use bus_schema::claims::Role;
use http::StatusCode;
use persister::db::At;

use super::{Thing, shown, tagged, write};
use crate::{
    access::Caller,
    app::App,
    db::Change,
    http::{IfMatch, List, Page, PageQuery, PathId, Problem, Query, Tagged},
};

/// In the order in which they were made; what was deleted, for admins, instead.
pub async fn list<T: Thing>(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<T::View>>, Problem> {
    let page = Page::try_from(&query)?;
    let deleted = query.deleted.unwrap_or(false);
    if deleted {
        caller.must_be(Role::Admin)?;
    }
    let mut within = app.within(caller.tenant).await?;
    let rows = T::page(&mut within, caller.tenant, &page, deleted).await?;
    let list = page.of_rows(rows, T::place, |row| row);
    let data = T::views(&mut within, caller.tenant, list.data).await?;
    Ok(Json(List { data, next_cursor: list.next_cursor }))
}

pub async fn get<T: Thing>(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<T::Id>,
) -> Result<Tagged<T::View>, Problem> {
    let mut within = app.within(caller.tenant).await?;
    let row = T::read(&mut within, caller.tenant, id, false).await?.ok_or_else(Problem::not_found)?;
    tagged(&mut within, caller.tenant, row).await
}

pub async fn delete<T: Thing>(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<T::Id>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = delete_in::<T>(&mut change, id, &if_match).await;
    change.finish(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_in<T: Thing>(change: &mut Change, id: T::Id, if_match: &IfMatch) -> Result<(), Problem> {
    let mut row: T = super::find(change, id).await?;
    if_match.check(row.revision())?;
    row.may_go(change).await?;
    let now = At(change.now);
    write(change, &mut row, Some(now), "deleted", &[]).await?;
    row.came_or_went(change).await
}

pub async fn restore<T: Thing>(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<T::Id>,
) -> Result<Tagged<T::View>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = restore_in::<T>(&mut change, id).await;
    change.finish(done).await
}

async fn restore_in<T: Thing>(change: &mut Change, id: T::Id) -> Result<Tagged<T::View>, Problem> {
    let tenant = change.tenant();
    let row = T::read(change.connection(), tenant, id, true).await?;
    let mut row = row.ok_or_else(Problem::not_found)?;
    write(change, &mut row, None, "restored", &[]).await?;
    row.came_or_went(change).await?;
    shown(change, row).await
}
