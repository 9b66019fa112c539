//! Answers requests on the bus for events that the log no longer has, or would have to be searched for.
//!
//! Invariant: the tenant comes from the subject, which only its edges may write to, and a visitor's page holds no
//! staff lane. How far the read model holds the conversation is read before the page: the page has at least that.

use std::time::Duration;

use bus_schema::{
    Audience, ErrorBody, ErrorCode, Shard, TenantId,
    history::{HistoryAnswer, HistoryRequest, QUEUE_GROUP},
    limits::PAGE_MAX,
    protocol::EventPage,
    subject::{self, ConversationSubjects},
};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Integer, Text, Uuid as UuidSql},
};
use diesel_async::RunQueryDsl;
use futures::StreamExt as _;
use ops::{nats::Bus, provision, service::Context};
use persister::db::{
    Id,
    schema::chat::{conversations, events},
};
use serde_json::value::RawValue;

use crate::{
    app::App,
    conversations::{Lanes, Of, Way, page},
    http::Problem,
};

/// Requests answered at once; more wait in the subscription.
const AT_ONCE: usize = 8;
/// Events of one answer, in bytes: the largest of them fits beside, and a message of the bus holds 1 MiB.
const ANSWER_BYTES_MAX: usize = 512 * 1024;
const RETRY: Duration = Duration::from_secs(1);
/// What was read and what was not is written together.
const HOLDS_TO: &str = "SELECT least(w.seq, (SELECT min(p.seq) - 1 FROM chat.parked p
        WHERE p.tenant_id = $2 AND p.shard = $1 AND p.subject LIKE $3)) AS seq
    FROM chat.watermark w WHERE w.shard = $1";

#[derive(QueryableByName)]
struct HoldsTo {
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Answers until shutdown.
pub async fn historian(context: Context, app: App) -> anyhow::Result<()> {
    let shards = provision::shards(&context.settings);
    let mut link = app.bus.clone();
    let work = async {
        let Some(bus) = link.wait().await else { return };
        let each = shards.iter().map(|shard| answer_shard(&app, &bus, *shard));
        futures::future::join_all(each).await;
    };
    context.shutdown.run_until_cancelled(work).await;
    Ok(())
}

async fn answer_shard(app: &App, bus: &Bus, shard: Shard) {
    let every_tenant = subject::history_of_shard(shard);
    loop {
        let subscribed = bus.client.queue_subscribe(every_tenant.clone(), QUEUE_GROUP.to_owned()).await;
        match subscribed {
            Ok(requests) => {
                requests.for_each_concurrent(AT_ONCE, |request| answer(app, bus, shard, request)).await
            }
            Err(error) => tracing::warn!(%error, "requests for history cannot be heard"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn answer(app: &App, bus: &Bus, shard: Shard, request: async_nats::Message) {
    let Some(reply) = request.reply.clone() else { return };
    let answered = look_up(app, shard, &request).await.unwrap_or_else(|error| Err(error).into());
    let Ok(json) = serde_json::to_vec(&answered) else { return };
    // The asker has a deadline of its own.
    let _ = bus.client.publish(reply, json.into()).await;
}

async fn look_up(app: &App, shard: Shard, request: &async_nats::Message) -> Result<HistoryAnswer, ErrorBody> {
    let tenant = request.subject.rsplit('.').next().and_then(|text| text.parse::<TenantId>().ok());
    let tenant = tenant.ok_or(ErrorCode::InvalidRequest)?;
    let wanted: HistoryRequest = serde_json::from_slice(&request.payload)
        .map_err(|error| ErrorBody::field("", format!("is no request for history: {error}")))?;
    let home = ConversationSubjects { shard, tenant, conversation: wanted.conversation_id };
    read(app, home, &wanted).await.map_err(|problem| problem.body)
}

async fn read(
    app: &App,
    home: ConversationSubjects,
    wanted: &HistoryRequest,
) -> Result<HistoryAnswer, Problem> {
    let ConversationSubjects { tenant, conversation, .. } = home;
    let holds_to = holds_to(app, home).await?;
    let mut connection = app.within(tenant).await?;
    let there = conversations::table.find((Id(tenant), Id(conversation))).select(conversations::life_seq);
    there.first::<i64>(&mut connection).await.optional()?.ok_or_else(Problem::not_found)?;
    if let Some(id) = wanted.event_id {
        let event = events::table
            .filter(events::tenant_id.eq(Id(tenant)).and(events::id.eq(Id(id))))
            .filter(events::conversation_id.eq(Id(conversation)))
            .select(events::seq);
        let seq = event.first::<i64>(&mut connection).await.optional()?;
        let nothing = EventPage { events: Vec::new(), has_more: false };
        let event_seq = seq.and_then(|seq| u64::try_from(seq).ok());
        return Ok(HistoryAnswer { holds_to, event_seq, ..Ok(nothing).into() });
    }
    let of = Of {
        tenant,
        conversation,
        thread: None,
        lanes: if wanted.audience == Audience::All { Lanes::Public } else { Lanes::All },
    };
    let way = Way::between(wanted.before_seq, wanted.after_seq);
    let (events, has_more) = page(&mut connection, of, way, wanted.limit.clamp(1, PAGE_MAX)).await?;
    let page = fit(events.into_iter().map(|(_, event)| event).collect(), way, has_more);
    Ok(HistoryAnswer { holds_to, ..Ok(page).into() })
}

/// How far the read model holds all of the conversation: what persister could not read, the log alone has.
async fn holds_to(app: &App, home: ConversationSubjects) -> Result<Option<u64>, Problem> {
    // Subjects are words and ids: nothing else in them is a wildcard.
    let subjects = home.stored(Audience::Staff).replace('>', "%");
    let found = diesel::sql_query(HOLDS_TO)
        .bind::<Integer, _>(i32::from(home.shard.0))
        .bind::<UuidSql, _>(Id(home.tenant))
        .bind::<Text, _>(subjects)
        .get_result::<HoldsTo>(&mut app.pool.get().await?)
        .await
        .optional()?;
    Ok(found.and_then(|found| u64::try_from(found.seq).ok()))
}

/// What fits into one answer, and at least one: the asker goes on from there.
fn fit(mut events: Vec<Box<RawValue>>, way: Way, has_more: bool) -> EventPage {
    let mut bytes = 0;
    let mut fits = |event: &RawValue| {
        let first = bytes == 0;
        bytes += event.get().len();
        first || bytes <= ANSWER_BYTES_MAX
    };
    let all = events.len();
    let kept = match way {
        Way::After(_) => events.iter().take_while(|event| fits(event)).count(),
        Way::Before(_) => events.iter().rev().take_while(|event| fits(event)).count(),
    };
    match way {
        Way::After(_) => events.truncate(kept),
        Way::Before(_) => drop(events.drain(..all - kept)),
    }
    EventPage { events, has_more: has_more || kept < all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_a_message_of_the_bus_and_says_that_there_is_more() {
        let event = |n: usize| {
            let text = format!(r#"{{"seq":{n},"text":"{}"}}"#, "x".repeat(ANSWER_BYTES_MAX / 3));
            RawValue::from_string(text).unwrap()
        };
        let all: Vec<_> = (0..5).map(event).collect();
        let first = |page: &EventPage| page.events[0].get()[7..8].to_owned();
        let after = fit(all.clone(), Way::After(0), false);
        assert_eq!((first(&after).as_str(), after.events.len(), after.has_more), ("0", 2, true));
        let before = fit(all.clone(), Way::Before(9), false);
        assert_eq!((first(&before).as_str(), before.events.len(), before.has_more), ("3", 2, true));
        let few = fit(all[..1].to_vec(), Way::Before(9), false);
        assert_eq!((few.events.len(), few.has_more), (1, false));
    }
}
