//! Conversations and how far each person is in them.

use super::prelude::*;

row! {
    /// A conversation's visible state after its last `life` event.
    ConversationRow by UpsertConversations {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<ConversationId>,
        visitor_id: UuidSql = Id<VisitorId>,
        created_at: Timestamptz = At,
        thread_id: UuidSql = Id<ThreadId>,
        status: Text = &'static str,
        group_id: Nullable<UuidSql> = Option<Id<GroupId>>,
        assignee_id: Nullable<UuidSql> = Option<Id<AgentId>>,
        // An array literal: `unnest` would flatten arrays of arrays.
        participants: Text = String as "uuid[]",
        life_seq: BigInt = i64,
        last_at: Timestamptz = At,
        last_seq: BigInt = i64,
    } insert "conversations", "ON CONFLICT (tenant_id, id) DO UPDATE SET
        visitor_id = excluded.visitor_id, thread_id = excluded.thread_id, status = excluded.status,
        group_id = excluded.group_id, assignee_id = excluded.assignee_id, participants = excluded.participants,
        life_seq = excluded.life_seq, last_at = excluded.last_at, last_seq = excluded.last_seq
        WHERE conversations.life_seq < excluded.life_seq"
}

row! {
    /// Something was said in a conversation.
    TouchRow by TouchConversations {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<ConversationId>,
        at: Timestamptz = At,
        seq: BigInt = i64,
    } update
        "UPDATE conversations c SET last_message_seq = r.seq,
            last_at = CASE WHEN r.seq > c.last_seq THEN r.at ELSE c.last_at END,
            last_seq = greatest(c.last_seq, r.seq) FROM",
        "WHERE c.tenant_id = r.tenant_id AND c.id = r.id AND coalesce(c.last_message_seq, 0) < r.seq"
}

row! {
    /// How far somebody is; both numbers only grow.
    MarkRow by UpsertMarks {
        tenant_id: UuidSql = Id<TenantId>,
        conversation_id: UuidSql = Id<ConversationId>,
        author_type: Text = &'static str,
        author_id: UuidSql = Uuid,
        delivered_seq: BigInt = i64,
        read_seq: BigInt = i64,
        seq: BigInt = i64,
        at: Timestamptz = At,
    } insert "marks", "ON CONFLICT (tenant_id, conversation_id, author_type, author_id) DO UPDATE SET
        delivered_seq = greatest(marks.delivered_seq, excluded.delivered_seq),
        read_seq = greatest(marks.read_seq, excluded.read_seq), seq = excluded.seq, at = excluded.at
        WHERE marks.seq < excluded.seq"
}
