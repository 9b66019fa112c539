//! What was said, edited and deleted.

use super::prelude::*;

row! {
    MessageRow by InsertMessages {
        tenant_id: UuidSql = Id<TenantId>,
        conversation_id: UuidSql = Id<ConversationId>,
        seq: BigInt = i64,
        id: UuidSql = Id<EventId>,
        thread_id: Nullable<UuidSql> = Option<Id<ThreadId>>,
        at: Timestamptz = At,
        kind: Text = &'static str,
        author_type: Text = &'static str,
        author_id: UuidSql = Uuid,
        visibility: Text = &'static str,
        text: Nullable<Text> = Option<String>,
    } insert "messages", "ON CONFLICT DO NOTHING"
}

row! {
    /// A new text for a message of the same conversation that is not deleted.
    EditRow by EditMessages {
        tenant_id: UuidSql = Id<TenantId>,
        conversation_id: UuidSql = Id<ConversationId>,
        target_id: UuidSql = Id<EventId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        text: Text = String,
    } update
        "UPDATE messages m SET text = r.text, edited_at = r.at, edited_seq = r.seq FROM",
        "JOIN events t ON t.tenant_id = r.tenant_id AND t.id = r.target_id AND t.conversation_id = r.conversation_id
         WHERE m.tenant_id = t.tenant_id AND m.conversation_id = t.conversation_id AND m.seq = t.seq
            AND m.deleted_seq IS NULL AND t.seq < r.seq AND coalesce(m.edited_seq, 0) < r.seq"
}

row! {
    /// Hides a message of the same conversation; the first deletion counts.
    DeletionRow by DeleteMessages {
        tenant_id: UuidSql = Id<TenantId>,
        conversation_id: UuidSql = Id<ConversationId>,
        target_id: UuidSql = Id<EventId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        author_type: Text = &'static str,
        author_id: UuidSql = Uuid,
    } update
        "UPDATE messages m SET text = NULL, deleted_at = r.at, deleted_seq = r.seq,
            deleted_by_type = r.author_type, deleted_by_id = r.author_id FROM",
        "JOIN events t ON t.tenant_id = r.tenant_id AND t.id = r.target_id AND t.conversation_id = r.conversation_id
         WHERE m.tenant_id = t.tenant_id AND m.conversation_id = t.conversation_id AND m.seq = t.seq
            AND m.deleted_seq IS NULL AND t.seq < r.seq"
}

row! {
    /// Removes a message's bytes as well: the message's own, and those of its edits. Quotes inside a JSON string are
    /// escaped, so the text that is looked for is the field and never something a person wrote.
    PurgeRow by PurgeMessages {
        tenant_id: UuidSql = Id<TenantId>,
        conversation_id: UuidSql = Id<ConversationId>,
        target_id: UuidSql = Id<EventId>,
        seq: BigInt = i64,
    } update
        "WITH r AS MATERIALIZED (SELECT * FROM",
        "), bytes AS (
            UPDATE events t SET payload = NULL FROM r
             WHERE t.tenant_id = r.tenant_id AND t.id = r.target_id AND t.conversation_id = r.conversation_id
               AND t.seq < r.seq
            RETURNING t.tenant_id, t.conversation_id, t.seq, t.id
         ), edits AS (
            UPDATE events e SET payload = NULL FROM r
             WHERE e.tenant_id = r.tenant_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
               AND e.kind = 'message_edited' AND strpos(e.payload, '\"target_id\":\"' || r.target_id || '\"') > 0
         )
         UPDATE messages m SET purged = true FROM bytes b
          WHERE m.tenant_id = b.tenant_id AND m.conversation_id = b.conversation_id AND m.seq = b.seq"
}
