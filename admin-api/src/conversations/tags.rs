//! Tags of the thread that is open, or was last: notes, which whoever sees the conversation may write.

use axum::extract::State;
use bus_schema::{
    Body as EventBody, ClientId, ConversationId, ErrorCode, TagId, Visibility,
    event::{Tagged, Untagged},
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use ops::chat::{self, Draft};
use persister::db::{Id, schema::config::tags};
use uuid::Uuid;

use super::scope::Current;
use crate::{
    access::Caller,
    app::App,
    http::{Ids, Problem},
};

pub async fn put_tag(
    State(app): State<App>,
    caller: Caller,
    Ids((conversation, tag)): Ids<(ConversationId, TagId)>,
) -> Result<StatusCode, Problem> {
    must_exist(&app, &caller, tag).await?.then_some(()).ok_or_else(Problem::not_found)?;
    set_tag(&app, &caller, conversation, tag, true).await
}

pub async fn remove_tag(
    State(app): State<App>,
    caller: Caller,
    Ids((conversation, tag)): Ids<(ConversationId, TagId)>,
) -> Result<StatusCode, Problem> {
    set_tag(&app, &caller, conversation, tag, false).await
}

/// Whether the tenant has this tag.
pub async fn must_exist(app: &App, caller: &Caller, tag: TagId) -> Result<bool, Problem> {
    let there = tags::table.find((Id(caller.tenant), Id(tag))).filter(tags::deleted_at.is_null());
    let mut within = app.within(caller.tenant).await?;
    Ok(there.select(tags::id).first::<Id<TagId>>(&mut within).await.optional()?.is_some())
}

/// Sets a tag or takes it away; one that is as it should be is left alone.
pub(super) async fn set_tag(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    tag_id: TagId,
    on: bool,
) -> Result<StatusCode, Problem> {
    let Current { log, home, life } = Current::read(app, caller, conversation).await?;
    if chat::tags(&log, home, &life).await?.contains(&tag_id) == on {
        return Ok(StatusCode::NO_CONTENT);
    }
    let body = match on {
        true => EventBody::Tagged(Tagged { tag_id }),
        false => EventBody::Untagged(Untagged { tag_id }),
    };
    let client_id = ClientId::new(format!("tag-{}", Uuid::now_v7()));
    let draft = Draft {
        home,
        author: caller.author(),
        client_id: client_id.map_err(|error| Problem::fault("make an id", &error))?,
        visibility: Visibility::Agents,
        body,
        thread: Some(life.state.thread_id),
        retry: false,
        cause: None,
    };
    let thread = life.state.thread_id;
    chat::send(&log, &draft, Some(life), |state| {
        if state.thread_id == thread { Ok(()) } else { Err(ErrorCode::Conflict.into()) }
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
