//! Events as they are stored, and what could not be read.

use super::prelude::*;

row! {
    /// One event; written once by id, and the answer says which were new.
    EventRow by InsertEvents returning BigInt {
        tenant_id: UuidSql = Id<TenantId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        id: UuidSql = Id<EventId>,
        lane: Text = &'static str,
        subject_id: UuidSql = Uuid,
        conversation_id: Nullable<UuidSql> = Option<Id<ConversationId>>,
        thread_id: Nullable<UuidSql> = Option<Id<ThreadId>>,
        kind: Text = String,
        author_type: Text = &'static str,
        author_id: UuidSql = Uuid,
        client_id: Nullable<Text> = Option<String>,
        visibility: Text = &'static str,
        payload: Text = String,
    } insert "events", "ON CONFLICT (tenant_id, id) DO NOTHING RETURNING seq"
}

row! {
    /// A message that is no event.
    ParkedRow by InsertParked {
        tenant_id: UuidSql = Id<TenantId>,
        shard: Integer = i32,
        seq: BigInt = i64,
        at: Timestamptz = At,
        subject: Text = String,
        reason: Text = String,
        payload: Binary = Vec<u8>,
    } insert "parked", "ON CONFLICT DO NOTHING"
}
