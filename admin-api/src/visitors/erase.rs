//! `DELETE /v1/visitors/{id}`: a visitor is forgotten (design §2.3).
//!
//! Invariant: from the request on it is known in a bucket until nothing is left to remove, and every step may be done
//! again; so whichever process dies, another ends it. The order is: the thread is closed, the record says
//! `visitor_erased` (from which the read model deletes and edges close sockets), files go, what was said goes.
//!
//! Who is forgotten because the tenant's days of retention are over goes the same way, unless they come back first.

use std::time::Duration;

use axum::{Json, extract::State};
use bus_schema::{
    Author, Body as EventBody, ConversationId, ErrorBody, ErrorCode, Event, Lane, Shard, Subject, TenantId,
    Timestamp, VisitorId,
    command::Command,
    erasure::{Erasure, Lapsed},
    event::VisitorErased,
    state::{CloseReason, VisitorRecord},
    stream,
    subject::ConversationSubjects,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use ops::{
    chat::{self, Hand, Record},
    files::Files,
    kv::{Entry, Kv, KvError},
    log::{Log, ReadError},
    nats::Bus,
    service::Context,
};
use persister::db::{At, Id, schema::config::audit_log};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    clock,
    http::{PathId, Problem},
    metrics,
};

/// The answer waits this long for the end of it; it goes on without.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often the bucket is looked at without being woken: another instance may have died over one.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// Records of a visitor that are read at once.
const PIECE: usize = 256;

#[derive(Debug, Serialize, ToSchema)]
pub struct Erased {
    #[schema(value_type = uuid::Uuid)]
    pub visitor_id: VisitorId,
    /// Proves what was asked for; the same for a repeated request.
    pub receipt: String,
    /// Whether nothing is left to remove; asking again tells.
    pub done: bool,
}

pub async fn erase(
    State(app): State<App>,
    caller: Caller,
    PathId(visitor_id): PathId<VisitorId>,
) -> Result<Json<Erased>, Problem> {
    let log = app.bus.log(caller.shard)?;
    let bucket = Kv::open(log.bus(), stream::ERASURES).await.map_err(away)?;
    let key = key(caller.tenant, visitor_id);
    let answer = |receipt, done| Ok(Json(Erased { visitor_id, receipt, done }));
    let receipt = match bucket.get(&key).await.map_err(away)? {
        Some(entry) => counting(&bucket, &key, &entry, &caller, visitor_id).await?,
        None => {
            let record = chat::record(&log, caller.tenant, visitor_id).await?;
            if let Some(receipt) = record.receipt {
                return answer(receipt, true);
            }
            if record.seq == 0 {
                return Err(Problem::not_found());
            }
            begin(&bucket, &key, &caller, visitor_id).await?
        }
    };
    app.erase.notify_one();
    let until = Instant::now() + ANSWER_WITHIN;
    while Instant::now() < until {
        sleep(LOOK_AGAIN).await;
        if bucket.get(&key).await.map_err(away)?.is_none() {
            return answer(receipt, true);
        }
    }
    answer(receipt, false)
}

/// Asks for it, unless somebody did just now; gives the receipt.
async fn begin(bucket: &Kv, key: &str, caller: &Caller, visitor_id: VisitorId) -> Result<String, Problem> {
    let erasure = asked_by(caller, visitor_id);
    match bucket.create(key, erasure.encode(), None).await {
        Ok(_) => Ok(erasure.receipt),
        // Somebody else asked in the same moment: theirs counts, unless it is over already.
        Err(error) if error.is_mismatch() => match bucket.get(key).await.map_err(away)? {
            Some(entry) => counting(bucket, key, &entry, caller, visitor_id).await,
            None => Err(Problem::unavailable("another erasure of this visitor ended just now", RETRY)),
        },
        Err(error) => Err(away(error).into()),
    }
}

/// What is under way counts, but for what would be left alone if the visitor came back; gives the receipt.
async fn counting(
    bucket: &Kv,
    key: &str,
    entry: &Entry,
    caller: &Caller,
    visitor_id: VisitorId,
) -> Result<String, Problem> {
    let before = decode(&entry.value)?;
    match before.lapsed {
        Some(_) => insist(bucket, (key, entry.revision), caller, visitor_id).await,
        None => Ok(before.receipt),
    }
}

fn asked_by(caller: &Caller, visitor_id: VisitorId) -> Erasure {
    Erasure {
        shard: caller.shard,
        visitor_id,
        receipt: Uuid::now_v7().to_string(),
        by: Some(caller.agent),
        asked_at: clock::now(),
        lapsed: None,
    }
}

/// Asks for what is under way already, without its condition; gives the receipt.
async fn insist(
    bucket: &Kv,
    (key, revision): (&str, u64),
    caller: &Caller,
    visitor_id: VisitorId,
) -> Result<String, Problem> {
    let erasure = asked_by(caller, visitor_id);
    match bucket.update(key, erasure.encode(), revision).await {
        Ok(_) => Ok(erasure.receipt),
        Err(error) if error.is_mismatch() => {
            Err(Problem::unavailable("another erasure of this visitor ended just now", RETRY))
        }
        Err(error) => Err(away(error).into()),
    }
}

/// Asks for the erasure of somebody whose days are over, unless one is under way.
pub(super) async fn begin_lapsed(
    bucket: &Kv,
    (shard, tenant): (Shard, TenantId),
    visitor_id: VisitorId,
    lapsed: Lapsed,
) -> Result<(), ErrorBody> {
    let receipt = Uuid::now_v7().to_string();
    let (asked_at, lapsed) = (clock::now(), Some(lapsed));
    let erasure = Erasure { shard, visitor_id, receipt, by: None, asked_at, lapsed };
    match bucket.create(&key(tenant, visitor_id), erasure.encode(), None).await {
        Err(error) if !error.is_mismatch() => Err(away(error)),
        _ => Ok(()),
    }
}

/// Carries out what is asked for, until shutdown.
pub async fn eraser(context: Context, app: App) -> anyhow::Result<()> {
    let shutdown = context.shutdown.clone();
    let work = async {
        let mut link = app.bus.clone();
        let Some(bus) = link.wait().await else { return };
        loop {
            match sweep(&app, &bus).await {
                Ok(()) => {
                    let _ = timeout(LOOK_EVERY, app.erase.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a visitor is not erased yet; it is tried again");
                    sleep(RETRY).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(Box::pin(work)).await;
    Ok(())
}

async fn sweep(app: &App, bus: &Bus) -> Result<(), ErrorBody> {
    let bucket = Kv::open(bus, stream::ERASURES).await.map_err(away)?;
    let keys = bucket.keys().await.map_err(away)?;
    if keys.is_empty() {
        return Ok(());
    }
    let files = app.files(bus).await?;
    let mut failed = None;
    for key in keys {
        // One that cannot go on now does not hold up the others.
        if let Err(error) = one(app, &bucket, &files, &key).await {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn one(app: &App, bucket: &Kv, files: &Files, key: &str) -> Result<(), ErrorBody> {
    let Some(entry) = bucket.get(key).await.map_err(away)? else { return Ok(()) };
    let erasure = decode(&entry.value)?;
    let tenant =
        key.split_once('.').and_then(|(tenant, _)| tenant.parse().ok()).ok_or(ErrorCode::Internal)?;
    let log = app.bus.log(erasure.shard).map_err(|_| ErrorCode::Unavailable)?;
    let is_erased = carry_out(app, &log, files, tenant, &erasure).await?;
    if is_erased {
        audit(app, tenant, &erasure).await?;
    }
    bucket.remove(key, Some(entry.revision)).await.map_err(away)?;
    if erasure.lapsed.is_some() {
        metrics::lapsed(if is_erased { "forgotten" } else { "came_back" });
    }
    if is_erased {
        metrics::erased();
        tracing::info!(receipt = erasure.receipt, "a visitor is erased");
    }
    Ok(())
}

/// Remembers who wanted it, once for each receipt: nobody did where the tenant's days were over.
async fn audit(app: &App, tenant: TenantId, erasure: &Erasure) -> Result<(), ErrorBody> {
    let mut connection = app.writing(tenant).await.map_err(|problem| problem.body)?;
    let reason = if erasure.lapsed.is_some() { "retention" } else { "asked" };
    let remembered = diesel::insert_into(audit_log::table)
        .values((
            audit_log::tenant_id.eq(Id(tenant)),
            audit_log::id.eq(Uuid::new_v5(&erasure.visitor_id.uuid(), erasure.receipt.as_bytes())),
            audit_log::at.eq(At(clock::now())),
            audit_log::actor_id.eq(erasure.by.map(Id)),
            audit_log::action.eq("erased"),
            audit_log::entity.eq(Audited::Visitor.name()),
            audit_log::entity_id.eq(erasure.visitor_id.uuid()),
            audit_log::fields.eq([reason].as_slice()),
            audit_log::request_id.eq(&erasure.receipt),
        ))
        .on_conflict_do_nothing()
        .execute(&mut connection)
        .await;
    remembered.map_err(|error| Problem::from(error).body)?;
    connection.commit().await.map_err(|problem| problem.body)
}

/// Whether nothing is left, which is not so of somebody who came back.
async fn carry_out(
    app: &App,
    log: &Log,
    files: &Files,
    tenant: TenantId,
    erasure: &Erasure,
) -> Result<bool, ErrorBody> {
    let visitor = erasure.visitor_id;
    let conversation = ConversationId::of(tenant, visitor);
    let home = ConversationSubjects { shard: log.shard(), tenant, conversation };
    let known = Subject::Visitor { shard: log.shard(), tenant, visitor }.to_string();
    let Some(erased) = forgotten(app, log, home, &known, erasure).await? else { return Ok(false) };
    // With a token from before it they may have begun another in between.
    close(app, log, home, erased).await?;
    files.discard_all(log, home, erased).await?;
    let said = [Lane::Msg, Lane::Note, Lane::Mark].map(|lane| home.lane(lane).to_string());
    for subject in said.iter().chain([&known]) {
        log.purge(subject, erased).await.map_err(unread)?;
    }
    Ok(true)
}

/// Has the log say it; says where, or that the visitor came back.
async fn forgotten(
    app: &App,
    log: &Log,
    home: ConversationSubjects,
    known: &str,
    erasure: &Erasure,
) -> Result<Option<u64>, ErrorBody> {
    // Whoever began it may have got this far. The visitor may be back by now, and what they say since then stays.
    if let Some(seq) = erased_at(log, known, erasure).await? {
        return Ok(Some(seq));
    }
    let Some(lapsed) = erasure.lapsed else {
        close(app, log, home, u64::MAX).await?;
        return Ok(Some(forget(app, log, home.tenant, erasure).await?.seq));
    };
    match forget_lapsed(app, log, home, erasure, lapsed).await? {
        Some(seq) => Ok(Some(seq)),
        // An earlier try may be stored whose answer was lost.
        None => erased_at(log, known, erasure).await,
    }
}

/// Where the log says it, if it does yet.
async fn erased_at(log: &Log, known: &str, erasure: &Erasure) -> Result<Option<u64>, ErrorBody> {
    let mut from = 1;
    loop {
        let mut piece = log.read(known, from, PIECE).await.map_err(unread)?;
        if piece.is_empty() {
            // Whether it was erased already is decided by the leader: a replica may not have heard of it yet.
            piece = log.read_leader(known, from, PIECE).await.map_err(unread)?;
        }
        let Some(last) = piece.last().map(|message| message.seq) else { return Ok(None) };
        let says_it = |payload: &[u8]| {
            let event = Event::decode(payload).ok();
            matches!(event, Some(Event { body: EventBody::VisitorErased(e), .. }) if e.receipt == erasure.receipt)
        };
        if let Some(found) = piece.iter().find(|message| says_it(&message.payload)) {
            return Ok(Some(found.seq));
        }
        from = last + 1;
    }
}

/// Closes the thread that is open, if it began before this place in the log.
async fn close(app: &App, log: &Log, home: ConversationSubjects, before: u64) -> Result<(), ErrorBody> {
    let life = chat::life(log, home).await?;
    let Some(life) = life.filter(|life| life.is_open() && life.started_seq() < before) else { return Ok(()) };
    let (conversation_id, reason) = (home.conversation, CloseReason::Erased);
    let close = Command::Close { conversation_id, thread_id: Some(life.state.thread_id), reason };
    match app.bus.command_of_system(log.shard(), home.tenant, close).await {
        Ok(_) | Err(ErrorBody { code: ErrorCode::NotFound | ErrorCode::ThreadClosed, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn unread(error: ReadError) -> ErrorBody {
    tracing::warn!(%error, "the log of a visitor who is erased cannot be read or purged now");
    ErrorBody::new(ErrorCode::Unavailable, "the log is away")
}

/// The record without anything personal.
async fn forget(app: &App, log: &Log, tenant: TenantId, erasure: &Erasure) -> Result<Record, ErrorBody> {
    chat::change_visitor(log, hand(app, log, tenant, erasure).await?, |before| {
        if before.receipt.as_ref() == Some(&erasure.receipt) {
            return Ok(None);
        }
        Ok(Some(EventBody::VisitorErased(erased(before, erasure, later(erasure)))))
    })
    .await
}

/// The same if nothing was written since it was asked for; says where.
async fn forget_lapsed(
    app: &App,
    log: &Log,
    home: ConversationSubjects,
    erasure: &Erasure,
    Lapsed { record_seq, life_seq, before }: Lapsed,
) -> Result<Option<u64>, ErrorBody> {
    let record = chat::record(log, home.tenant, erasure.visitor_id).await?;
    if record.seq != record_seq {
        return Ok(None);
    }
    let hand = hand(app, log, home.tenant, erasure).await?;
    let erased = erased(&record, erasure, before);
    chat::forget_quiet(log, hand, home, (record_seq, life_seq), erased).await
}

async fn hand(app: &App, log: &Log, tenant: TenantId, erasure: &Erasure) -> Result<Hand, ErrorBody> {
    let epoch = log.epoch().await.map_err(|_| ErrorCode::Unavailable)?;
    let author = erasure.by.map_or(Author::SYSTEM, Author::agent);
    Ok(Hand { tenant, visitor: erasure.visitor_id, author, cause: None, epoch, writer: app.incarnation })
}

/// A ban stays: forgetting is not forgiving.
fn erased(before: &Record, erasure: &Erasure, up_to: Timestamp) -> VisitorErased {
    let ban = before.record.ban.clone();
    let record = VisitorRecord { ban, erased_at: Some(up_to), ..VisitorRecord::new(erasure.visitor_id) };
    VisitorErased { receipt: erasure.receipt.clone(), record }
}

/// Tokens that were made before it are refused, also those made while it was under way.
fn later(erasure: &Erasure) -> Timestamp {
    clock::now().max(erasure.asked_at)
}

fn key(tenant: TenantId, visitor: VisitorId) -> String {
    format!("{tenant}.{visitor}")
}

fn decode(value: &[u8]) -> Result<Erasure, ErrorBody> {
    Erasure::decode(value).map_err(|error| {
        tracing::error!(%error, "an erasure that was asked for cannot be read");
        ErrorCode::Internal.into()
    })
}

pub(super) fn away(error: KvError) -> ErrorBody {
    tracing::warn!(%error, "erasures cannot be read or written now");
    ErrorBody::new(ErrorCode::Unavailable, "the bus is away")
}
