//! `PATCH /v1/visitors/{id}`, ban and unban: staff change a visitor's record, in the log.

use std::collections::BTreeMap;

use axum::extract::State;
use bus_schema::{
    Body as EventBody, ConversationId, ErrorBody, ErrorCode, Timestamp, VisitorId,
    claims::Role,
    command::Command,
    event::{VisitorBanned, VisitorUnbanned},
    protocol::UpdateVisitor,
    state::{Ban, CloseReason, VisitorRecord},
};
use ops::chat::{self, Hand, Record};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    clock,
    conversations::Current,
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
};

/// A visitor's record as the log has it now; the ETag is its place there.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedVisitor {
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitorId,
    pub name: Option<String>,
    pub email: Option<String>,
    pub custom: BTreeMap<String, String>,
    pub banned: bool,
    /// Absent: for good, where `banned`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub banned_until: Option<Timestamp>,
    /// A `min_seq` for reading it back.
    pub seq: u64,
}

impl From<Record> for Tagged<ChangedVisitor> {
    fn from(Record { seq, record, .. }: Record) -> Self {
        let ban = record.ban.as_ref();
        let body = ChangedVisitor {
            id: record.visitor_id,
            banned: ban.is_some(),
            banned_until: ban.and_then(|ban| ban.until),
            name: record.name,
            email: record.email,
            custom: record.custom,
            seq,
        };
        Tagged::ok(i64::try_from(seq).unwrap_or(i64::MAX), body)
    }
}

/// What is left out stays; null takes away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchVisitor {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Option<String>>,
    /// All of them: fields that are left out go.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub custom: Option<Option<BTreeMap<String, String>>>,
}

impl Check for PatchVisitor {
    // The rules are those of what visitors say themselves, and are checked with them.
    fn check(&self, _: &mut Checks) {}
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(visitor): PathId<VisitorId>,
    if_match: IfMatch,
    Body(patch): Body<PatchVisitor>,
) -> Result<Tagged<ChangedVisitor>, Problem> {
    let update = UpdateVisitor {
        name: patch.name.map(Option::unwrap_or_default),
        email: patch.email.map(Option::unwrap_or_default),
        custom: patch.custom.map(Option::unwrap_or_default),
    };
    let change =
        chat::profile::of_update(update, None, "").map_err(|error| Problem::invalid(error.errors))?;
    let changed = change_record(&app, &caller, visitor, |before| {
        let revision = i64::try_from(before.seq).unwrap_or(i64::MAX);
        if_match.check(revision).map_err(|_| ErrorCode::PreconditionFailed)?;
        Ok(change.body(before))
    });
    Ok(changed.await?.into())
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// Until then; absent: for good.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

impl Check for NewBan {
    fn check(&self, checks: &mut Checks) {
        checks.that("/until", self.until.is_none_or(|until| until > clock::now()), "must be in the future");
    }
}

/// The open thread is closed, sockets are closed with 3503, and nothing new begins until it ends.
pub async fn ban(
    State(app): State<App>,
    caller: Caller,
    PathId(visitor): PathId<VisitorId>,
    body: Option<Body<NewBan>>,
) -> Result<Tagged<ChangedVisitor>, Problem> {
    let NewBan { until } = body.map(|Body(body)| body).unwrap_or_default();
    let changed = change_record(&app, &caller, visitor, |before| {
        if before.record.ban.as_ref().is_some_and(|ban| ban.until == until) {
            return Ok(None);
        }
        let by = caller.agent;
        let record = VisitorRecord { ban: Some(Ban { until, by }), ..before.record.clone() };
        Ok(Some(EventBody::VisitorBanned(VisitorBanned { until, by, record })))
    });
    let changed = changed.await?;
    let conversation_id = ConversationId::of(caller.tenant, visitor);
    let close = Command::Close { conversation_id, thread_id: None, reason: CloseReason::VisitorBanned };
    match app.bus.command_of_system(caller.shard, caller.tenant, close).await {
        // The ban stands whether or not there was something to close.
        Ok(_) | Err(ErrorBody { code: ErrorCode::NotFound | ErrorCode::ThreadClosed, .. }) => {}
        // Who is banned cannot write: the thread ends as one that is idle does.
        Err(error) => tracing::warn!(%error, "the thread of a banned visitor stays open"),
    }
    Ok(changed.into())
}

pub async fn unban(
    State(app): State<App>,
    caller: Caller,
    PathId(visitor): PathId<VisitorId>,
) -> Result<Tagged<ChangedVisitor>, Problem> {
    let changed = change_record(&app, &caller, visitor, |before| {
        let record = VisitorRecord { ban: None, ..before.record.clone() };
        Ok(before.record.ban.is_some().then_some(EventBody::VisitorUnbanned(VisitorUnbanned { record })))
    });
    Ok(changed.await?.into())
}

/// Changes the record of a visitor whom the caller may see and who was not forgotten.
async fn change_record(
    app: &App,
    caller: &Caller,
    visitor: VisitorId,
    change: impl Fn(&Record) -> Result<Option<EventBody>, ErrorBody>,
) -> Result<Record, Problem> {
    let log = app.bus.log(caller.shard)?;
    if caller.role < Role::Supervisor {
        Current::read(app, caller, ConversationId::of(caller.tenant, visitor)).await?;
    }
    let epoch = log.epoch().await.map_err(|_| ErrorBody::new(ErrorCode::Unavailable, "the log is away"))?;
    let hand = Hand {
        tenant: caller.tenant,
        visitor,
        author: caller.author(),
        cause: None,
        epoch,
        writer: app.incarnation,
    };
    let changed = chat::change_visitor(&log, hand, |before| {
        if before.seq == 0 || before.receipt.is_some() {
            return Err(ErrorCode::NotFound.into());
        }
        change(before)
    });
    Ok(changed.await?)
}
