//! Deleting and restoring agents.

use axum::extract::State;
use bus_schema::{AgentId, claims::Role};
use http::StatusCode;
use persister::db::At;

use super::{AgentView, find, groups_of, keep_an_admin, write::save};
use crate::{
    access::Caller,
    app::App,
    auth::{Ended, end_sessions_of},
    db::{AgentRow, Change, meaning},
    http::{IfMatch, PathId, Problem, Tagged},
};

/// Deletes an agent: sessions end, the router moves what they hold, an admin can restore them.
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = delete_in(&mut change, id, &if_match).await;
    change.finish(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_in(change: &mut Change, id: AgentId, if_match: &IfMatch) -> Result<(), Problem> {
    let mut row = find(change, id, false).await?;
    if_match.check(row.revision)?;
    if meaning::<Role>(&row.role)? == Role::Admin {
        keep_an_admin(change, id).await?;
    }
    row.deleted_at = Some(At(change.now));
    save(change, &mut row, "deleted", &[]).await?;
    end_sessions_of(change, id, Ended::AgentDeleted).await?;
    let groups = groups_of(change, id).await?;
    change.touch_groups(&groups).await
}

pub async fn restore(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
) -> Result<Tagged<AgentView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = restore_in(&mut change, id).await;
    let (row, view) = change.finish(done).await?;
    Ok(Tagged::ok(row.revision, view))
}

async fn restore_in(change: &mut Change, id: AgentId) -> Result<(AgentRow, AgentView), Problem> {
    let mut row = find(change, id, true).await?;
    row.deleted_at = None;
    let saved = save(change, &mut row, "restored", &[]).await?;
    let groups = groups_of(change, id).await?;
    change.touch_groups(&groups).await?;
    Ok(saved)
}
