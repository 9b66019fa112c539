//! Which visitors have a connection: what edges say unasked, and what they answer.
//!
//! Invariant: "nobody is there" is said only where the question went out and came back; a bus that is away says nothing.

use std::{collections::BTreeSet, time::Duration};

use async_nats::Client;
use bus_schema::{
    ConversationId, Shard, TenantId,
    signal::{TenantSignal, Who},
    subject::{TenantTopic, tenant_signals, visitors_of_shard},
};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::feed::{Fed, Feed, tell};
use crate::routing::Input;

/// How long edges have to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Answers that are heard out.
const EDGES_MAX: usize = 200;

/// Passes on what edges say of visitors who come and go.
pub async fn follow(client: Client, shard: Shard, feed: Feed) -> anyhow::Result<()> {
    let mut signals = client.subscribe(visitors_of_shard(shard)).await?;
    while let Some(message) = signals.next().await {
        let tenant = message.subject.rsplit('.').nth(1).and_then(|token| token.parse().ok());
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

/// Asks all edges.
pub async fn ask(client: Client, shard: Shard, tenant: TenantId, asked: Vec<ConversationId>) -> Input {
    let there = answers(&client, shard, tenant, &asked).await;
    Input::EdgesSaid { tenant, asked, there }
}

async fn answers(
    client: &Client,
    shard: Shard,
    tenant: TenantId,
    asked: &[ConversationId],
) -> Option<BTreeSet<ConversationId>> {
    let end = Instant::now() + ANSWER_WITHIN;
    let inbox = client.new_inbox();
    let mut heard = client.subscribe(inbox.clone()).await.ok()?;
    let who = Who { conversations: asked.to_vec() };
    let payload = serde_json::to_vec(&who).expect("ids are JSON");
    let subject = tenant_signals(shard, tenant, TenantTopic::Who);
    client.publish_with_reply(subject, inbox, payload.into()).await.ok()?;
    // The server's answer to this follows its hearing of that.
    timeout_at(end, client.flush()).await.ok()?.ok()?;
    let (mut there, mut edges) = (BTreeSet::new(), 0);
    while edges < EDGES_MAX
        && let Ok(Some(answer)) = timeout_at(end, heard.next()).await
    {
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Some(there);
        }
        if let Ok(TenantSignal::Visitors { visitors, .. }) = serde_json::from_slice(&answer.payload) {
            there.extend(visitors.iter().filter(|visitor| visitor.online).map(|v| v.conversation_id));
            edges += 1;
        }
        if asked.iter().all(|conversation| there.contains(conversation)) {
            break;
        }
    }
    connected(client).then_some(there)
}

/// A connection that was lost meanwhile may have lost answers.
fn connected(client: &Client) -> bool {
    client.connection_state() == async_nats::connection::State::Connected
}
