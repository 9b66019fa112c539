//! Requests to the router, in the queue group that active routers share.

use async_nats::{Client, Message, Subject};
use bus_schema::{
    ErrorBody, ErrorCode, Shard, TenantId,
    command::{CommandRequest, Outcome},
    subject::{ROUTER_QUEUE_GROUP, commands_of_shard, tenant_of_command},
};
use futures::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Fed, Feed, tell};

/// A command that wants an answer.
#[derive(Debug)]
pub struct Asked {
    pub tenant: TenantId,
    pub request: CommandRequest,
    pub reply: Subject,
    pub at: Instant,
    /// How often something was read again for it.
    pub read_again: u8,
}

/// Reads requests until `stop`.
pub async fn serve(client: Client, shard: Shard, feed: Feed, stop: CancellationToken) -> anyhow::Result<()> {
    let subject = commands_of_shard(shard);
    let mut requests = client.queue_subscribe(subject, ROUTER_QUEUE_GROUP.to_owned()).await?;
    while let Some(Some(message)) = stop.run_until_cancelled(requests.next()).await {
        let Some(reply) = message.reply.clone() else { continue };
        match read(&message) {
            Ok((tenant, request)) => {
                let asked = Asked { tenant, request, reply, at: Instant::now(), read_again: 0 };
                if tell(&feed, Fed::Command(asked)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                let refused = Outcome::from(error);
                let payload = serde_json::to_vec(&refused).expect("an outcome is JSON");
                if let Err(error) = client.publish(reply, payload.into()).await {
                    tracing::debug!(%error, "a refusal was not sent");
                }
            }
        }
    }
    // What was delivered to this member of the group and not read is asked again by its sender.
    if let Err(error) = requests.unsubscribe().await {
        tracing::debug!(%error, "the subscription was gone already");
    }
    Ok(())
}

fn read(message: &Message) -> Result<(TenantId, CommandRequest), ErrorBody> {
    let tenant = tenant_of_command(&message.subject)
        .ok_or_else(|| ErrorBody::new(ErrorCode::InvalidRequest, "the subject names no tenant"))?;
    let request = serde_json::from_slice(&message.payload)
        .map_err(|error| ErrorBody::new(ErrorCode::InvalidRequest, format!("not a command: {error}")))?;
    Ok((tenant, request))
}
