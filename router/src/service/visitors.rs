//! Which visitors have a connection: what edges say unasked, and what they answer.
//!
//! Invariant: an edge counts as heard only where its answer came; a bus that is away says nothing.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use async_nats::Client;
use bus_schema::{
    ConversationId, IncarnationId, Shard, TenantId,
    signal::{TenantSignal, Who},
    subject::{tenant_of_signal, visitors_of_shard},
};
use futures::StreamExt as _;
use ops::chat;

use super::feed::{Fed, Feed, tell};
use crate::routing::{Heard, Input};

/// How long edges have to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Passes on what edges say of visitors who come and go.
pub async fn follow(client: Client, shard: Shard, feed: Feed) -> anyhow::Result<()> {
    let mut signals = client.subscribe(visitors_of_shard(shard)).await?;
    while let Some(message) = signals.next().await {
        let tenant = tenant_of_signal(&message.subject);
        let signal = serde_json::from_slice(&message.payload);
        let (Some(tenant), Ok(TenantSignal::Visitors { visitors, .. })) = (tenant, signal) else { continue };
        for visitor in visitors {
            let (conversation, came) = (visitor.conversation_id, visitor.online);
            let moved = Input::Visitor { tenant, conversation, came };
            if tell(&feed, Fed::Input(moved)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Asks all edges, until these have answered or all are found.
pub async fn ask(
    client: Client,
    (shard, tenant): (Shard, TenantId),
    asked: Vec<ConversationId>,
    edges: BTreeSet<IncarnationId>,
) -> Input {
    let mut heard = Heard::default();
    let about = Who { conversations: asked.clone(), ..Who::default() };
    let could = chat::who(&client, (shard, tenant), &about, ANSWER_WITHIN, |edge, visitors| {
        heard.edges.insert(edge);
        heard.there.extend(visitors.iter().filter(|visitor| visitor.online).map(|v| v.conversation_id));
        let found = asked.iter().all(|conversation| heard.there.contains(conversation));
        if found || heard.edges.is_superset(&edges) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    Input::EdgesSaid { tenant, asked, heard: could.then_some(heard) }
}
