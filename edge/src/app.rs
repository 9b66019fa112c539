//! Everything a connection or an HTTP request needs; shared by all of them.

use std::sync::Arc;

use ops::auth::{KeySet, SigningKey};
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission, agents::Agents, conn::Conn, connections::Connections, core::Core, hub::Hub,
    limits::or_unbounded, session::Who, socket::Outbox, standing::Revoked,
};

#[derive(Debug)]
pub struct App {
    pub core: Arc<Core>,
    pub hub: Hub,
    pub agents: Agents,
    pub keys: Arc<KeySet>,
    pub signing: SigningKey,
    pub ws_url: String,
    /// Origins that are allowed everywhere: the console's and those of the settings.
    pub open_origins: Vec<String>,
    pub shutdown: CancellationToken,
    /// Cancelled at the very end, when the connections are gone.
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub connections: Connections,
    pub revoked: Revoked,
    pub admission: Admission,
    pub health: ops::health::Health,
}

impl App {
    pub fn open_connection(&self, socket: OwnedWriteHalf) -> Arc<Conn> {
        let bytes = usize::try_from(self.core.limits.outbox_bytes).unwrap_or(usize::MAX);
        let conn = Conn::new(
            self.connections.next_id(),
            Outbox::new(bytes, Some(socket)),
            self.core.measures.clone(),
        );
        self.connections.add(&conn);
        conn
    }

    /// The person has logged in once more: the oldest connections beyond the limit are closed.
    pub fn evict(&self, who: Who) {
        let limits = &self.core.limits;
        let most = or_unbounded(match who {
            Who::Visitor { .. } => limits.connections_per_visitor,
            Who::Staff { .. } => limits.connections_per_agent,
        });
        self.connections.evict(who, most);
    }
}
