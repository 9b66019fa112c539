//! What the tests of the kit start from.

use std::time::Duration;

use bus_schema::{ConversationId, Lane, Shard, Subject, TenantId};
use ops::{
    log::Log,
    nats::{self, Bus, Options},
    provision::{self, Plan},
    testing::NatsServer,
};
use uuid::Uuid;

/// No wait for a condition is longer.
pub const SOON: Duration = Duration::from_secs(20);
pub const SHARD: Shard = Shard(0);

pub fn plan() -> Plan {
    Plan { shards: vec![SHARD], replicas: 1, log_bytes_max: 64 << 20, files_bytes_max: 256 << 20 }
}

pub async fn connect(url: String) -> Bus {
    nats::connect_with(Options::new(url, "edge")).await.unwrap()
}

/// A server with everything provisioned, and its log.
pub async fn provisioned() -> (NatsServer, Log) {
    let server = NatsServer::start().await;
    let bus = connect(server.url()).await;
    provision::apply(&bus, &plan()).await.unwrap();
    (server, Log::new(bus, SHARD))
}

/// A subject of conversation number `number`.
pub fn lane(number: u128, lane: Lane) -> String {
    let conversation = ConversationId::from_uuid(Uuid::from_u128(number));
    Subject::Conversation { shard: SHARD, tenant: TenantId::NIL, conversation, lane }.to_string()
}
