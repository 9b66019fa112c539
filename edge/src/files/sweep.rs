//! Settles files that were left pending: every edge looks at all of them from time to time.

use std::{sync::Arc, time::Duration};

use ops::{files::Settled, service::Context};
use tokio::time::sleep;

use crate::{app::App, clock};

const LOOK_EVERY: Duration = Duration::from_secs(60);

pub fn start(ctx: &Context, app: &Arc<App>) {
    let (shutdown, app) = (ctx.shutdown.clone(), app.clone());
    ctx.spawn("settle files", async move {
        shutdown.run_until_cancelled(follow(&app)).await;
        Ok(())
    });
}

async fn follow(app: &App) {
    loop {
        sleep(LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2))).await;
        if let Err(error) = sweep(app).await {
            tracing::debug!(%error, "files could not be settled; it is tried again");
        }
    }
}

async fn sweep(app: &App) -> Result<(), bus_schema::ErrorBody> {
    let files = &app.core.files;
    for key in files.unsettled().await? {
        // Those of other shards are for the edges that serve them.
        let Some(log) = app.core.log_of(key.tenant) else { continue };
        match files.settle(&log, key, clock::now()).await {
            Ok(Settled::Removed) => tracing::info!(attachment = %key.attachment, "a file is gone"),
            Ok(Settled::Early | Settled::Kept) => {}
            Err(error) => tracing::debug!(%error, "a file could not be settled; it is tried again"),
        }
    }
    Ok(())
}
