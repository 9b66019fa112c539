//! Which visitors have a connection: all edges are asked at once.
//!
//! Invariant: it says that it asked only where the question went out and answers could come back; who has not answered
//! when the time is over is left to whoever asked.

use std::{ops::ControlFlow, time::Duration};

use async_nats::{StatusCode, connection::State};
use bus_schema::{
    IncarnationId, Shard, TenantId,
    protocol::VisitorPresence,
    signal::{TenantSignal, Who},
    subject::{TenantTopic, tenant_signals},
};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

/// Has `hear` what each edge says, until it has heard enough or the time is over. False: they could not be asked, or
/// answers may be lost.
pub async fn who(
    client: &async_nats::Client,
    (shard, tenant): (Shard, TenantId),
    about: &Who,
    within: Duration,
    mut hear: impl FnMut(IncarnationId, Vec<VisitorPresence>) -> ControlFlow<()>,
) -> bool {
    let end = Instant::now() + within;
    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return false };
    let payload = serde_json::to_vec(about).expect("ids are JSON");
    let subject = tenant_signals(shard, tenant, TenantTopic::Who);
    if client.publish_with_reply(subject, inbox, payload.into()).await.is_err() {
        return false;
    }
    // The server's answer to this follows its hearing of that.
    if !matches!(timeout_at(end, client.flush()).await, Ok(Ok(()))) {
        return false;
    }
    while let Ok(Some(answer)) = timeout_at(end, answers.next()).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        if let Ok(TenantSignal::Visitors { edge, visitors }) = serde_json::from_slice(&answer.payload)
            && hear(edge, visitors).is_break()
        {
            break;
        }
    }
    client.connection_state() == State::Connected
}
