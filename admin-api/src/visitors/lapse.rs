//! Visitors of whom nothing was written for as many days as their tenant wants to know them.
//!
//! Invariant: the read model, which may be late, only says whom to look at; who is forgotten is decided by the log, and
//! once more in the write that forgets them. One instance at a time looks through a tenant, no faster than what was
//! asked for is carried out, and no longer than the tenant wants it.

use std::time::Duration;

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, Shard, TenantId, Timestamp, VisitorId, erasure::Lapsed,
    state::ThreadStatus, stream, subject::ConversationSubjects,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, RunQueryDsl};
use ops::{chat, kv::Kv, log::Log, nats::Bus, service::Context};
use persister::db::{
    At, Id,
    schema::{
        chat::{conversations, visitors},
        config::tenants,
    },
};
use tokio::time::{sleep, timeout};

use super::erase::{away, begin_lapsed};
use crate::{
    app::App,
    db::word,
    http::{Position, Problem},
    metrics,
};

/// How often it is asked whose turn it is, without being woken.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often a tenant's visitors are looked through.
const AGAIN: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(5);
/// Visitors that are looked at in one transaction; so many are asked to be erased at once.
const PIECE: i64 = 100;
/// Erasures that may wait while more are asked for.
const WAITING_MAX: usize = 20;
const ROOM_POLL: Duration = Duration::from_millis(200);
/// How long erasures may take to make room for more.
const ROOM_WAIT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A tenant whose turn it is.
#[derive(Debug, Clone, Copy)]
struct Due {
    tenant: TenantId,
    shard: Shard,
    days: u32,
}

/// Looks for them until shutdown.
pub async fn forgetter(context: Context, app: App) -> anyhow::Result<()> {
    let shutdown = context.shutdown.clone();
    let work = async {
        let mut link = app.bus.clone();
        let Some(bus) = link.wait().await else { return };
        loop {
            match round(&app, &bus).await {
                Ok(true) => {}
                Ok(false) => drop(timeout(LOOK_EVERY, app.lapse.notified()).await),
                Err(problem) => {
                    tracing::warn!(%problem, "visitors whose days are over were not looked for; it is tried again");
                    metrics::lapses_failed();
                    sleep(RETRY).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(Box::pin(work)).await;
    Ok(())
}

/// Looks through one tenant; whether it was any's turn.
async fn round(app: &App, bus: &Bus) -> Result<bool, Problem> {
    let Some(due) = take(app).await? else { return Ok(false) };
    match look_through(app, bus, due).await {
        Ok(()) => Ok(true),
        Err(problem) => {
            put_off(app, due, RETRY).await?;
            Err(problem)
        }
    }
}

/// The tenant that has waited longest; for a while nobody else takes it.
async fn take(app: &App) -> Result<Option<Due>, Problem> {
    let now = app.calendar.now();
    let mut connection = app.pool.get().await?;
    let row = connection
        .transaction(async |connection| {
            let waits = tenants::table
                .filter(tenants::forget_after_days.is_not_null().and(tenants::lapses_due_at.le(At(now))))
                .order(tenants::lapses_due_at)
                .select(tenants::tenant_id)
                .for_update()
                .skip_locked()
                .first::<Id<TenantId>>(connection)
                .await
                .optional()?;
            let Some(id) = waits else { return Ok(None) };
            diesel::update(tenants::table.find(id))
                .set(tenants::lapses_due_at.eq(At(now.plus(AGAIN))))
                .returning((tenants::tenant_id, tenants::shard, tenants::forget_after_days))
                .get_result::<(Id<TenantId>, i32, Option<i32>)>(connection)
                .await
                .optional()
        })
        .await?;
    Ok(row.and_then(|(tenant, shard, days)| {
        let shard = Shard(u16::try_from(shard).ok()?);
        Some(Due { tenant: tenant.0, shard, days: u32::try_from(days?).ok()? })
    }))
}

/// Says whether the tenant still wants it so; where it does not, its turn is as the new setting has it.
async fn put_off(app: &App, Due { tenant, days, .. }: Due, wait: Duration) -> Result<bool, Problem> {
    let days = i32::try_from(days).ok();
    let same = tenants::table.find(Id(tenant)).filter(tenants::forget_after_days.eq(days));
    let due = tenants::lapses_due_at.eq(At(app.calendar.now().plus(wait)));
    let mut connection = app.writing(tenant).await?;
    let wanted = diesel::update(same).set(due).execute(&mut connection).await?;
    connection.commit().await?;
    Ok(wanted == 1)
}

async fn look_through(app: &App, bus: &Bus, due: Due) -> Result<(), Problem> {
    let log = app.bus.log(due.shard)?;
    let bucket = Kv::open(bus, stream::ERASURES).await.map_err(away)?;
    let before = days_before(app.calendar.now(), due.days);
    let mut after = None;
    loop {
        room(&bucket).await?;
        if !put_off(app, due, AGAIN).await? {
            return Ok(());
        }
        let (silent, next) = piece(app, due.tenant, before, after).await?;
        for visitor in silent {
            if let Some(lapsed) = lapsed(&log, due.tenant, visitor, before).await? {
                begin_lapsed(&bucket, (due.shard, due.tenant), visitor, lapsed).await?;
                app.erase.notify_one();
            }
        }
        if next.is_none() {
            return Ok(());
        }
        after = next;
    }
}

/// Until there is room for more erasures.
async fn room(bucket: &Kv) -> Result<(), ErrorBody> {
    let free = async {
        while bucket.keys().await.map_err(away)?.len() > WAITING_MAX {
            sleep(ROOM_POLL).await;
        }
        Ok(())
    };
    let stuck = |_| ErrorBody::new(ErrorCode::Unavailable, "too many erasures wait and none ends");
    timeout(ROOM_WAIT, free).await.map_err(stuck)?
}

type Row = (Id<VisitorId>, At, Option<String>, Option<At>);

/// Of the visitors whose records are from before then, a few who have said nothing since either; and where the next
/// few begin.
async fn piece(
    app: &App,
    tenant: TenantId,
    before: Timestamp,
    after: Option<Position>,
) -> Result<(Vec<VisitorId>, Option<Position>), Problem> {
    let same =
        conversations::tenant_id.eq(visitors::tenant_id).and(conversations::id.eq(visitors::conversation_id));
    let mut rows = visitors::table
        .left_join(conversations::table.on(same))
        .filter(visitors::tenant_id.eq(Id(tenant)).and(visitors::erased_at.is_null()))
        .filter(visitors::last_seen_at.le(At(before)))
        .order((visitors::last_seen_at, visitors::id))
        .limit(PIECE)
        .select((
            visitors::id,
            visitors::last_seen_at,
            conversations::status.nullable(),
            conversations::last_at.nullable(),
        ))
        .into_boxed();
    if let Some(Position { at, id }) = after {
        let later = visitors::last_seen_at.gt(At(at)).or(visitors::id.gt(Id(VisitorId::from_uuid(id))));
        rows = rows.filter(visitors::last_seen_at.ge(At(at)).and(later));
    }
    let rows: Vec<Row> = rows.load(&mut app.within(tenant).await?).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PIECE);
    let next = rows.last().map(|(id, at, ..)| Position { at: at.0, id: id.0.uuid() }).filter(|_| is_full);
    let closed = word(ThreadStatus::Closed);
    let is_silent = |(_, _, status, last_at): &Row| {
        status.as_ref().is_none_or(|status| *status == closed) && last_at.is_none_or(|at| at.0 <= before)
    };
    Ok((rows.into_iter().filter(is_silent).map(|(id, ..)| id.0).collect(), next))
}

/// What must stay as it is for this visitor to be forgotten; none: they stay known.
async fn lapsed(
    log: &Log,
    tenant: TenantId,
    visitor: VisitorId,
    before: Timestamp,
) -> Result<Option<Lapsed>, ErrorBody> {
    let home = ConversationSubjects {
        shard: log.shard(),
        tenant,
        conversation: ConversationId::of(tenant, visitor),
    };
    let newest = chat::newest(log, home, visitor).await?;
    let silent = newest.filter(|it| it.at <= before && !it.is_open && it.record.receipt.is_none());
    Ok(silent.map(|it| Lapsed { record_seq: it.record.seq, life_seq: it.life_seq, before }))
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    let millis = i64::try_from(DAY.as_millis()).expect("a day is short");
    Timestamp::from_millis(now.millis().saturating_sub(millis.saturating_mul(days.into())))
}
