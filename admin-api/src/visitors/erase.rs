//! `DELETE /v1/visitors/{id}`: a visitor is forgotten (design §2.3).
//!
//! Invariant: from the request on it is known in a bucket until nothing is left to remove, and every step may be done
//! again; so whichever process dies, another ends it. The order is: the thread is closed, the record says
//! `visitor_erased` (from which the read model deletes and edges close sockets), files go, what was said goes.

use std::time::Duration;

use axum::{Json, extract::State};
use bus_schema::{
    Author, Body as EventBody, ConversationId, ErrorBody, ErrorCode, Event, Lane, Subject, TenantId,
    Timestamp, VisitorId,
    command::Command,
    erasure::Erasure,
    event::VisitorErased,
    state::{CloseReason, VisitorRecord},
    stream,
    subject::ConversationSubjects,
};
use ops::{
    chat::{self, Hand, Record},
    files::{self, Files},
    kv::Kv,
    log::{Log, ReadError},
    nats::Bus,
    service::Context,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
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
        Some(entry) => decode(&entry.value)?.receipt,
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
    let receipt = Uuid::now_v7().to_string();
    let erasure =
        Erasure { shard: caller.shard, visitor_id, receipt, by: caller.agent, asked_at: clock::now() };
    match bucket.create(key, erasure.encode(), None).await {
        Ok(_) => Ok(erasure.receipt),
        // Somebody else asked in the same moment: theirs counts, unless it is over already.
        Err(error) if error.is_mismatch() => match bucket.get(key).await.map_err(away)? {
            Some(entry) => Ok(decode(&entry.value)?.receipt),
            None => Err(Problem::unavailable("another erasure of this visitor ended just now", RETRY)),
        },
        Err(error) => Err(away(error).into()),
    }
}

/// Carries out what is asked for, until shutdown.
pub async fn eraser(context: Context, app: App) -> anyhow::Result<()> {
    let shutdown = context.shutdown.clone();
    let work = async {
        let mut link = app.bus.clone();
        let Some(bus) = link.wait().await else { return };
        loop {
            match sweep(&context, &app, &bus).await {
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

async fn sweep(context: &Context, app: &App, bus: &Bus) -> Result<(), ErrorBody> {
    let bucket = Kv::open(bus, stream::ERASURES).await.map_err(away)?;
    let keys = bucket.keys().await.map_err(away)?;
    if keys.is_empty() {
        return Ok(());
    }
    let store = files::store(&context.settings, bus).map_err(ErrorBody::from)?;
    let files = Files::open(bus, store).await.map_err(away)?;
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
    carry_out(app, &log, files, tenant, &erasure).await?;
    bucket.remove(key, Some(entry.revision)).await.map_err(away)?;
    metrics::erased();
    tracing::info!(receipt = erasure.receipt, "a visitor is erased");
    Ok(())
}

async fn carry_out(
    app: &App,
    log: &Log,
    files: &Files,
    tenant: TenantId,
    erasure: &Erasure,
) -> Result<(), ErrorBody> {
    let visitor = erasure.visitor_id;
    let conversation = ConversationId::of(tenant, visitor);
    let home = ConversationSubjects { shard: log.shard(), tenant, conversation };
    let known = Subject::Visitor { shard: log.shard(), tenant, visitor }.to_string();
    let erased = match erased_at(log, &known, erasure).await? {
        // Whoever began it got this far. The visitor may be back by now, and what they say since then stays.
        Some(seq) => seq,
        None => {
            close(app, log, home, u64::MAX).await?;
            forget(app, log, tenant, erasure).await?.seq
        }
    };
    // With a token from before it they may have begun another in between.
    close(app, log, home, erased).await?;
    files.discard_all(log, home, erased).await?;
    let said = [Lane::Msg, Lane::Note, Lane::Mark].map(|lane| home.lane(lane).to_string());
    for subject in said.iter().chain([&known]) {
        log.purge(subject, erased).await.map_err(unread)?;
    }
    Ok(())
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

/// The record without anything personal. A ban stays: forgetting is not forgiving.
async fn forget(app: &App, log: &Log, tenant: TenantId, erasure: &Erasure) -> Result<Record, ErrorBody> {
    let visitor = erasure.visitor_id;
    let epoch = log.epoch().await.map_err(|_| ErrorCode::Unavailable)?;
    let author = Author::agent(erasure.by);
    let hand = Hand { tenant, visitor, author, cause: None, epoch, writer: app.incarnation };
    chat::change_visitor(log, hand, |before| {
        if before.receipt.as_ref() == Some(&erasure.receipt) {
            return Ok(None);
        }
        let ban = before.record.ban.clone();
        let record = VisitorRecord { ban, erased_at: Some(later(erasure)), ..VisitorRecord::new(visitor) };
        let receipt = erasure.receipt.clone();
        Ok(Some(EventBody::VisitorErased(VisitorErased { receipt, record })))
    })
    .await
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

fn away(error: ops::kv::KvError) -> ErrorBody {
    tracing::warn!(%error, "erasures cannot be read or written now");
    ErrorBody::new(ErrorCode::Unavailable, "the bus is away")
}
