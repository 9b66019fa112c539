//! Who is here: what routers and other edges ask of all edges.
//!
//! Invariant: a question about certain conversations, or one that asks for it, is answered, also where nobody of that
//! tenant ever was: for whoever asks, silence is no answer.

use std::sync::Arc;

use bus_schema::{protocol::VisitorPresence, signal::TenantSignal, subject};
use futures::{StreamExt as _, future::join_all};
use ops::service::Context;
use tokio_util::sync::CancellationToken;

use super::floor;
use crate::{app::App, core::Core};

/// Answers until `stop`.
pub async fn start(ctx: &Context, app: &Arc<App>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut shards = Vec::new();
    for shard in app.core.shards.keys() {
        shards.push(app.core.bus.client.subscribe(subject::who_of_shard(*shard)).await?);
    }
    let (app, stop) = (app.clone(), stop.clone());
    ctx.spawn("say who is here", async move {
        let answering = join_all(shards.into_iter().map(|questions| answer(&app, questions)));
        stop.run_until_cancelled(answering).await;
        Ok(())
    });
    Ok(())
}

async fn answer(app: &App, mut questions: async_nats::Subscriber) {
    while let Some(question) = questions.next().await {
        let tenant = subject::tenant_of_signal(&question.subject);
        let (Some(tenant), Some(reply)) = (tenant, question.reply) else { continue };
        // Without a payload, and in words not known yet, it is about everyone.
        let about: bus_schema::signal::Who = serde_json::from_slice(&question.payload).unwrap_or_default();
        let awaited = about.awaits_each();
        if !app.core.floors.tell(tenant, floor::Ask::Who { about, reply: reply.clone() }) && awaited {
            say(&app.core, reply, Vec::new()).await;
        }
    }
}

/// Says of visitors how they are here.
pub async fn say(core: &Core, to: impl async_nats::ToSubject, visitors: Vec<VisitorPresence>) {
    let signal = TenantSignal::Visitors { edge: core.incarnation, visitors };
    let payload = serde_json::to_vec(&signal).expect("a signal holds only strings and numbers");
    if let Err(error) = core.bus.client.publish(to, payload.into()).await {
        tracing::debug!(%error, "others were not told of visitors; they ask again");
    }
}
