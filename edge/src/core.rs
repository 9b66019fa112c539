//! What every part of the edge shares: the logs, the configuration, cursors and metrics.

use std::{collections::BTreeMap, sync::Arc};

use bus_schema::{
    Audience, Author, AuthorType, ConversationId, Epoch, IncarnationId, Lane, Shard, TenantId,
    cursor::Cursor, limits::Limits, protocol::Person, signal::Signal, subject::ConversationSubjects,
    tally::Tally,
};
use ops::{files::Files, log::Log, nats::Bus};

use crate::{
    catch_up::CatchUps, conn::Conn, cursor::CursorSeal, desk::floor::Floors, directory::Directory,
    files::Links, metrics::Measures, turned_away::TurnedAway,
};

#[derive(Debug)]
pub struct Core {
    pub bus: Bus,
    pub shards: BTreeMap<Shard, (Log, Epoch)>,
    pub directory: Directory,
    pub files: Files,
    pub links: Links,
    pub seal: CursorSeal,
    pub limits: Limits,
    pub catch_ups: CatchUps,
    pub measures: Arc<Measures>,
    pub incarnation: IncarnationId,
    pub floors: Floors,
    pub turned_away: TurnedAway,
}

impl Core {
    pub fn log(&self, shard: Shard) -> Option<&Log> {
        self.shards.get(&shard).map(|(log, _)| log)
    }

    pub fn epoch(&self, shard: Shard) -> Option<Epoch> {
        self.shards.get(&shard).map(|(_, epoch)| *epoch)
    }

    /// The log that holds a tenant, where it is served here.
    pub fn log_of(&self, tenant: TenantId) -> Option<Log> {
        let shard = self.directory.now().tenant(tenant)?.shard;
        self.log(shard).cloned()
    }

    /// The home of a conversation of a tenant whose shard is served here.
    pub fn home(&self, tenant: TenantId, conversation: ConversationId) -> Option<ConversationSubjects> {
        let shard = self.directory.now().tenant(tenant)?.shard;
        self.shards.contains_key(&shard).then_some(ConversationSubjects { shard, tenant, conversation })
    }

    /// Tells a conversation's people something that is not stored; while the bus is away, nobody.
    pub async fn signal(&self, home: ConversationSubjects, signal: &Signal) {
        if !self.bus.is_connected() {
            return;
        }
        let payload = serde_json::to_vec(signal).expect("a signal holds only strings, numbers and flags");
        if let Err(error) = self.bus.client.publish(home.signals(), payload.into()).await {
            tracing::debug!(%error, "a signal is lost");
        }
    }

    /// A position as a client holds it.
    pub fn cursor(
        &self,
        home: ConversationSubjects,
        audience: Audience,
        principal: [u8; 8],
        last: [u64; Lane::ALL.len()],
        tally: Option<Tally>,
    ) -> String {
        let epoch = self.epoch(home.shard).unwrap_or(Epoch::NIL);
        self.seal.seal(&Cursor { epoch, conversation: home.conversation, principal, audience, last, tally })
    }

    /// The authors whom the connection has not met, who are met from now on.
    pub fn people(
        &self,
        conn: &Conn,
        tenant: TenantId,
        authors: impl IntoIterator<Item = Author>,
        visitor_name: Option<&str>,
    ) -> Vec<Person> {
        authors
            .into_iter()
            .filter(|author| author.kind != AuthorType::System && conn.meets(author.id))
            .map(|author| self.directory.now().person(tenant, author, visitor_name))
            .collect()
    }
}
