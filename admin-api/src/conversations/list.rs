//! `GET /v1/conversations`: newest activity first.

use axum::extract::State;
use bus_schema::{AgentId, ConversationId, GroupId, TagId, Timestamp, VisitorId, state::ThreadStatus};
use diesel::{dsl::sql, prelude::*, sql_types::Bool};
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::chat::conversations};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Scope,
    mine::mine,
    now::tell_online,
    said,
    sift::Rows,
    tagged,
    view::{ConversationRow, ConversationView, views},
    words::Words,
};
use crate::{
    access::Caller,
    app::App,
    http::{List, Page, Position, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    min_seq: Option<u64>,
    status: Option<Status>,
    group_id: Option<GroupId>,
    agent_id: Option<AgentId>,
    visitor_id: Option<VisitorId>,
    tag_id: Option<TagId>,
    /// Of the last activity.
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    view: Option<View>,
    q: Option<String>,
}

/// Of the thread that is open, or was last.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Open,
    Queued,
    Active,
    Closed,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Assigned to me, or joined by me.
    Mine,
    All,
}

impl Status {
    /// The one status that is asked for, if it is one.
    const fn one(self) -> Option<ThreadStatus> {
        match self {
            Status::Open => None,
            Status::Queued => Some(ThreadStatus::Queued),
            Status::Active => Some(ThreadStatus::Active),
            Status::Closed => Some(ThreadStatus::Closed),
        }
    }
}

impl Filter {
    /// Everything but words and tags, in the list's order from where the page begins.
    fn rows(&self, caller: &Caller, scope: &Scope, page: &Page) -> Rows<'static> {
        let mut rows = conversations::table
            .filter(conversations::tenant_id.eq(Id(caller.tenant)))
            .order((conversations::last_at.desc(), conversations::id.desc()))
            .into_boxed();
        if let Some(Position { at, id }) = page.after {
            // The first of both is what an index can begin at.
            let after =
                conversations::last_at.lt(At(at)).or(conversations::id.lt(Id(ConversationId::from_uuid(id))));
            rows = rows.filter(conversations::last_at.le(At(at)).and(after));
        }
        if let Scope::Agent { me, groups } = scope {
            let groups: Vec<_> = groups.iter().map(|id| Some(Id(*id))).collect();
            rows = rows.filter(mine(caller.tenant, *me).or(conversations::group_id.eq_any(groups)));
        }
        if let Some(View::Mine) = self.view {
            rows = rows.filter(mine(caller.tenant, caller.agent));
        }
        if let Some(status) = self.status {
            if !matches!(status, Status::Closed) {
                // As the index of open ones says it: a parameter could be any status.
                rows = rows.filter(sql::<Bool>("chat.conversations.status <> 'closed'"));
            }
            if let Some(status) = status.one() {
                rows = rows.filter(conversations::status.eq(status.name()));
            }
        }
        if let Some(group) = self.group_id {
            rows = rows.filter(conversations::group_id.eq(Id(group)));
        }
        if let Some(agent) = self.agent_id {
            rows = rows.filter(conversations::assignee_id.eq(Id(agent)));
        }
        if let Some(visitor) = self.visitor_id {
            // A visitor has one conversation, whose id can be computed: no need to look through all of them.
            rows = rows.filter(conversations::id.eq(Id(ConversationId::of(caller.tenant, visitor))));
        }
        if let Some(from) = self.from {
            rows = rows.filter(conversations::last_at.ge(At(from)));
        }
        if let Some(to) = self.to {
            rows = rows.filter(conversations::last_at.lt(At(to)));
        }
        rows
    }
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Applied<List<ConversationView>>, Problem> {
    let page = Page::of(filter.limit, filter.cursor.as_deref())?;
    let words = filter.q.as_deref().map(Words::parse).transpose()?;
    let seq = applied(&app, &caller, filter.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let scope = Scope::of(&mut connection, &caller).await?;
    let rows = || filter.rows(&caller, &scope, &page);
    let rows: Vec<ConversationRow> = match (words, filter.tag_id) {
        (Some(words), None) => said::load(&mut connection, &words, &page, seq, rows).await?,
        (Some(words), Some(tag)) => {
            let tagged = || rows().filter(tagged::has(tag));
            said::load(&mut connection, &words, &page, seq, tagged).await?
        }
        (None, Some(tag)) => tagged::load(&mut connection, caller.tenant, tag, &page, rows).await?,
        (None, None) => {
            rows().limit(page.rows()).select(ConversationRow::as_select()).load(&mut connection).await?
        }
    };
    let list = page.of_rows(rows, |row| Position { at: row.last_at.0, id: row.id.0.uuid() }, |row| row);
    let mut data = views(&mut connection, &caller, list.data).await?;
    // Edges may take their time; the connection is for others meanwhile.
    drop(connection);
    tell_online(&app, &caller, &mut data).await;
    Ok(Applied { seq, body: List { data, next_cursor: list.next_cursor } })
}
