//! Answers requests on the bus for events that the log no longer has.
//!
//! Invariant: the tenant comes from the subject, which only its edges may write to, and a visitor's page holds no
//! staff lane.

use std::time::Duration;

use bus_schema::{
    Audience, ErrorBody, ErrorCode, Shard, TenantId,
    history::{HistoryAnswer, HistoryRequest, QUEUE_GROUP},
    limits::PAGE_MAX,
    protocol::EventPage,
    subject,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::StreamExt as _;
use ops::{nats::Bus, provision, service::Context};
use persister::db::{Id, schema::chat::conversations};

use crate::{
    app::App,
    conversations::{Of, Way, page},
    http::Problem,
};

/// Requests answered at once; more wait in the subscription.
const AT_ONCE: usize = 8;
const RETRY: Duration = Duration::from_secs(1);

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
            Ok(requests) => requests.for_each_concurrent(AT_ONCE, |request| answer(app, bus, request)).await,
            Err(error) => tracing::warn!(%error, "requests for history cannot be heard"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn answer(app: &App, bus: &Bus, request: async_nats::Message) {
    let Some(reply) = request.reply.clone() else { return };
    let answered = HistoryAnswer::from(look_up(app, &request).await);
    let Ok(json) = serde_json::to_vec(&answered) else { return };
    // The asker has a deadline of its own.
    let _ = bus.client.publish(reply, json.into()).await;
}

async fn look_up(app: &App, request: &async_nats::Message) -> Result<EventPage, ErrorBody> {
    let tenant = request.subject.rsplit('.').next().and_then(|text| text.parse::<TenantId>().ok());
    let tenant = tenant.ok_or(ErrorCode::InvalidRequest)?;
    let wanted: HistoryRequest = serde_json::from_slice(&request.payload)
        .map_err(|error| ErrorBody::field("", format!("is no request for history: {error}")))?;
    read(app, tenant, &wanted).await.map_err(|problem| problem.body)
}

async fn read(app: &App, tenant: TenantId, wanted: &HistoryRequest) -> Result<EventPage, Problem> {
    let mut connection = app.pool.get().await?;
    let there =
        conversations::table.find((Id(tenant), Id(wanted.conversation_id))).select(conversations::life_seq);
    there.first::<i64>(&mut connection).await.optional()?.ok_or_else(Problem::not_found)?;
    let of = Of {
        tenant,
        conversation: wanted.conversation_id,
        thread: None,
        public: wanted.audience == Audience::All,
    };
    let way = Way::between(wanted.before_seq, wanted.after_seq);
    let (events, has_more) = page(&mut connection, of, way, wanted.limit.clamp(1, PAGE_MAX)).await?;
    Ok(EventPage { events: events.into_iter().map(|(_, event)| event).collect(), has_more })
}
