//! The real router, on the world's bus: for what an edge and a router do together.

use std::time::Duration;

use bus_schema::command::{Actor, Command};
use ops::{
    chat,
    nats::{Options as Connect, connect_with},
    service::{Context, Service},
    settings::Settings,
    testing::wait_for,
};
use router::service::{Options, Turns, route};

use crate::world::World;

/// Ends when it is dropped.
pub struct Routed {
    context: Context,
}

impl Drop for Routed {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

impl World {
    /// A router that answers.
    pub async fn routed(&self) -> Routed {
        self.routed_with(None).await
    }

    /// One for which so many threads of a tenant may be open.
    pub async fn routed_with(&self, open_max: Option<usize>) -> Routed {
        let bus = connect_with(Connect::new(self.nats.url(), "router")).await.unwrap();
        let context = Context::new(Settings::from_pairs(Service::Router, &[]).unwrap());
        let options = Options {
            shard: self.log.shard(),
            turns: Turns::Lease,
            agent_grace: Duration::from_secs(2),
            open_max,
            place: "here".to_owned(),
        };
        tokio::spawn(route(context.clone(), bus, options));
        wait_for(Duration::from_secs(20), "the router to answer", async || {
            let question = chat::command(Actor::SYSTEM, Command::ListGroups);
            let wait = Duration::from_secs(1);
            chat::ask(&self.bus, self.log.shard(), self.tenant, &question, wait).await
        })
        .await;
        Routed { context }
    }
}
