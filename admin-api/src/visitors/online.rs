//! `GET /v1/visitors/online`: who has a connection now, as the edges say.
//!
//! Invariant: presence is asked for and stored nowhere; it shows an agent whom the sockets' `list_visitors` shows and who
//! is the agent's own, and of a record only what `GET /v1/visitors/{id}` would.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use bus_schema::{ConversationId, GroupId, Timestamp, VisitorId, protocol::VisitorPresence, state};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{Id, schema::chat::conversations};
use serde::Serialize;
use utoipa::ToSchema;

use super::{VisitorQuery, VisitorRecord, records};
use crate::{
    access::Caller,
    app::App,
    conversations::{Scope, mine},
    http::{List, Page, Position, Problem, Query},
    read_model::{Applied, applied},
};

/// A visitor with a live connection.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnlineVisitor {
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitorId,
    /// Whether or not it has begun.
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    /// Of the open thread.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<GroupId>,
    /// The page that is being looked at, if the widget said so.
    pub page: Option<PageView>,
    /// Null: there is none yet, or the caller may not see the conversation.
    pub visitor: Option<VisitorRecord>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PageView {
    pub url: String,
    pub title: Option<String>,
}

impl From<state::Page> for PageView {
    fn from(page: state::Page) -> Self {
        Self { url: page.url, title: page.title }
    }
}

/// By id.
pub async fn online(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<VisitorQuery>,
) -> Result<Applied<List<OnlineVisitor>>, Problem> {
    let page = Page::of(query.limit, query.cursor.as_deref())?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let there = app.bus.visitors_online(&caller).await?;
    let mut connection = app.within(caller.tenant).await?;
    let scope = Scope::of(&mut connection, &caller).await?;
    let own = own(&mut connection, &caller, &scope).await?;
    let later = |visitor: &VisitorPresence| page.after.is_none_or(|after| visitor.id.uuid() > after.id);
    let shown = there.into_iter().filter(|visitor| later(visitor) && shows(&scope, &own, visitor));
    let shown: Vec<VisitorPresence> = shown.take(page.limit + 1).collect();
    let ids: Vec<VisitorId> = shown.iter().map(|visitor| visitor.id).collect();
    let records = records(&mut connection, &caller, &scope, &ids).await?;
    let mut records: BTreeMap<_, _> = records.into_iter().map(|record| (record.id, record)).collect();
    let view = |is: VisitorPresence| OnlineVisitor {
        id: is.id,
        conversation_id: is.conversation_id,
        group_id: is.group_id,
        page: is.page.map(PageView::from),
        visitor: records.remove(&is.id),
    };
    let rows: Vec<OnlineVisitor> = shown.into_iter().map(view).collect();
    let place = |row: &OnlineVisitor| Position { at: Timestamp::default(), id: row.id.uuid() };
    Ok(Applied { seq, body: page.of_rows(rows, place, |row| row) })
}

/// Who talks to nobody is everybody's business, as on the sockets.
fn shows(scope: &Scope, own: &BTreeSet<ConversationId>, visitor: &VisitorPresence) -> bool {
    visitor.group_id.is_none()
        || own.contains(&visitor.conversation_id)
        || scope.sees(visitor.group_id, None, &[])
}

/// Conversations that an agent has or joined, of whatever group.
pub(super) async fn own(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    scope: &Scope,
) -> Result<BTreeSet<ConversationId>, Problem> {
    let Scope::Agent { me, .. } = scope else { return Ok(BTreeSet::new()) };
    let own: Vec<Id<ConversationId>> = conversations::table
        .filter(conversations::tenant_id.eq(Id(caller.tenant)))
        .filter(mine(caller.tenant, *me))
        .select(conversations::id)
        .load(connection)
        .await?;
    Ok(own.into_iter().map(|id| id.0).collect())
}
