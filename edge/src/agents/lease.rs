//! This edge's lease: while it is refreshed, the router believes what the edge says of its agents.

use std::time::Duration;

use bus_schema::{
    IncarnationId,
    stream::{self, LEASE_REFRESH_MS, LEASE_TTL_MS},
};
use ops::{kv::Kv, service::Context};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Takes the lease, and keeps it until `stop`; then gives it back.
pub async fn keep_lease(
    ctx: &Context,
    leases: Kv,
    incarnation: IncarnationId,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let key = stream::edge_lease(incarnation);
    let ttl = Duration::from_millis(LEASE_TTL_MS);
    leases.put_for(&key, "{}", ttl).await?;
    ctx.spawn("keep the lease", async move {
        let mut tick = interval(Duration::from_millis(LEASE_REFRESH_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refresh = async {
            loop {
                tick.tick().await;
                if let Err(error) = leases.put_for(&key, "{}", ttl).await {
                    tracing::warn!(%error, "the lease was not refreshed");
                }
            }
        };
        stop.run_until_cancelled(refresh).await;
        if let Err(error) = leases.delete(&key).await {
            tracing::debug!(%error, "the lease was not given back; it ends by itself");
        }
        Ok(())
    });
    Ok(())
}
