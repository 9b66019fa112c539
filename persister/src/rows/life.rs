//! Threads: their life, their place in a queue, who held them.

use super::prelude::*;

row! {
    /// A thread after its last `life` event; what happened first stays.
    ThreadRow by UpsertThreads {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<ThreadId>,
        conversation_id: UuidSql = Id<ConversationId>,
        visitor_id: UuidSql = Id<VisitorId>,
        widget_id: Nullable<UuidSql> = Option<Id<WidgetId>>,
        source: Nullable<Text> = Option<String>,
        previous_thread_id: Nullable<UuidSql> = Option<Id<ThreadId>>,
        status: Text = &'static str,
        group_id: Nullable<UuidSql> = Option<Id<GroupId>>,
        assignee_id: Nullable<UuidSql> = Option<Id<AgentId>>,
        participants: Text = String as "uuid[]",
        life_seq: BigInt = i64,
        started_at: Timestamptz = At,
        started_seq: BigInt = i64,
        first_queued_at: Nullable<Timestamptz> = Option<At>,
        first_assigned_at: Nullable<Timestamptz> = Option<At>,
        closed_at: Nullable<Timestamptz> = Option<At>,
        closed_seq: Nullable<BigInt> = Option<i64>,
        close_reason: Nullable<Text> = Option<String>,
        closed_by_type: Nullable<Text> = Option<&'static str>,
        closed_by_id: Nullable<UuidSql> = Option<Uuid>,
    } insert "threads", "ON CONFLICT (tenant_id, id) DO UPDATE SET
        widget_id = coalesce(threads.widget_id, excluded.widget_id),
        source = coalesce(threads.source, excluded.source),
        previous_thread_id = coalesce(threads.previous_thread_id, excluded.previous_thread_id),
        status = excluded.status, group_id = excluded.group_id, assignee_id = excluded.assignee_id,
        participants = excluded.participants, life_seq = excluded.life_seq,
        first_queued_at = coalesce(threads.first_queued_at, excluded.first_queued_at),
        first_assigned_at = coalesce(threads.first_assigned_at, excluded.first_assigned_at),
        closed_at = coalesce(threads.closed_at, excluded.closed_at),
        closed_seq = coalesce(threads.closed_seq, excluded.closed_seq),
        close_reason = coalesce(threads.close_reason, excluded.close_reason),
        closed_by_type = coalesce(threads.closed_by_type, excluded.closed_by_type),
        closed_by_id = coalesce(threads.closed_by_id, excluded.closed_by_id)
        WHERE threads.life_seq < excluded.life_seq"
}

row! {
    /// What was said in a thread since the batch before.
    TalkRow by AddTalk {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<ThreadId>,
        visitor_messages: BigInt = i64,
        agent_messages: BigInt = i64,
        first_response_at: Nullable<Timestamptz> = Option<At>,
    } update
        "UPDATE threads t SET visitor_messages = t.visitor_messages + r.visitor_messages,
            agent_messages = t.agent_messages + r.agent_messages,
            first_response_at = coalesce(t.first_response_at, r.first_response_at) FROM",
        "WHERE t.tenant_id = r.tenant_id AND t.id = r.id"
}

row! {
    /// A thread's routing state.
    DeskRow by UpdateDesks {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<ThreadId>,
        desk_seq: BigInt = i64,
        priority: Text = &'static str,
        waiting_since: Nullable<Timestamptz> = Option<At>,
        waiting_reason: Nullable<Text> = Option<String>,
        waiting_group_id: Nullable<UuidSql> = Option<Id<GroupId>>,
    } update
        "UPDATE threads t SET desk_seq = r.desk_seq, priority = r.priority, waiting_since = r.waiting_since,
            waiting_reason = r.waiting_reason, waiting_group_id = r.waiting_group_id FROM",
        "WHERE t.tenant_id = r.tenant_id AND t.id = r.id AND coalesce(t.desk_seq, 0) < r.desk_seq"
}

row! {
    /// A thread came to an agent.
    AssignmentRow by InsertAssignments {
        tenant_id: UuidSql = Id<TenantId>,
        seq: BigInt = i64,
        thread_id: UuidSql = Id<ThreadId>,
        conversation_id: UuidSql = Id<ConversationId>,
        agent_id: UuidSql = Id<AgentId>,
        group_id: Nullable<UuidSql> = Option<Id<GroupId>>,
        at: Timestamptz = At,
    } insert "assignments", "ON CONFLICT DO NOTHING"
}

row! {
    /// Something that ends the assignments of a thread made before it, but those to `keeps`.
    AssignmentEndRow by EndAssignments {
        tenant_id: UuidSql = Id<TenantId>,
        thread_id: UuidSql = Id<ThreadId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        ended_by: Text = String,
        keeps: Nullable<UuidSql> = Option<Id<AgentId>>,
    } update
        "UPDATE assignments a SET ended_seq = e.seq, ended_at = e.at, ended_by = e.ended_by FROM (
            SELECT DISTINCT ON (o.tenant_id, o.seq) o.tenant_id, o.seq AS assigned_seq, r.seq, r.at, r.ended_by FROM",
        "JOIN assignments o ON o.tenant_id = r.tenant_id AND o.thread_id = r.thread_id
                AND o.seq < r.seq AND o.ended_seq IS NULL AND o.agent_id IS DISTINCT FROM r.keeps
            ORDER BY o.tenant_id, o.seq, r.seq
         ) e WHERE a.tenant_id = e.tenant_id AND a.seq = e.assigned_seq"
}
