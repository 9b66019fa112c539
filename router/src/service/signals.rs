//! What the router says without storing it.
//!
//! Invariant: nothing waits for a signal. What cannot be sent soon is dropped and counted, for the next one says how it
//! is by then.

use async_nats::Client;
use bus_schema::{
    ConversationId, Shard, TenantId,
    signal::{HOLD_MS, Signal},
    subject::{ConversationSubjects, tenant_signals},
};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::metrics;
use crate::routing::Told;

/// Signals that wait for the connection.
const WAITING_MAX: usize = 4096;

/// Where to say it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signals {
    shard: Shard,
    sender: mpsc::Sender<(String, Bytes)>,
}

/// The task that sends them, and the way to it.
pub fn begin(client: Client, shard: Shard) -> (Signals, impl Future<Output = anyhow::Result<()>>) {
    let (sender, mut waiting) = mpsc::channel::<(String, Bytes)>(WAITING_MAX);
    let carry = async move {
        while let Some((subject, payload)) = waiting.recv().await {
            if let Err(error) = client.publish(subject, payload).await {
                tracing::debug!(%error, "a signal was not sent");
            }
        }
        Ok(())
    };
    (Signals { shard, sender }, carry)
}

impl Signals {
    pub fn say(&self, tenant: TenantId, told: &Told) {
        match told {
            Told::Conversation(conversation, signal) => {
                let (shard, conversation) = (self.shard, *conversation);
                self.send(ConversationSubjects { shard, tenant, conversation }.signals(), signal);
            }
            Told::Tenant(topic, signal) => self.send(tenant_signals(self.shard, tenant, *topic), signal),
        }
    }

    /// Asks the edges to keep a conversation quiet for a moment.
    pub fn hold(&self, tenant: TenantId, conversation_id: ConversationId) {
        let signal = Signal::Hold { conversation_id, for_ms: HOLD_MS };
        self.say(tenant, &Told::Conversation(conversation_id, signal));
    }

    fn send(&self, subject: String, signal: &impl Serialize) {
        let payload = serde_json::to_vec(signal).expect("a signal is JSON").into();
        metrics::signalled(self.sender.try_send((subject, payload)).is_ok());
    }
}
