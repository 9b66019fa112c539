//! Visitors and agents: whole states, the last one counts.

use super::prelude::*;

row! {
    VisitorRow by UpsertVisitors {
        tenant_id: UuidSql = Id<TenantId>,
        id: UuidSql = Id<VisitorId>,
        conversation_id: UuidSql = Id<ConversationId>,
        name: Nullable<Text> = Option<String>,
        email: Nullable<Text> = Option<String>,
        custom: Text = String as "jsonb",
        external_id: Nullable<Text> = Option<String>,
        verified: Bool = bool,
        widget_id: Nullable<UuidSql> = Option<Id<WidgetId>>,
        page_url: Nullable<Text> = Option<String>,
        page_title: Nullable<Text> = Option<String>,
        banned: Bool = bool,
        banned_until: Nullable<Timestamptz> = Option<At>,
        banned_by: Nullable<UuidSql> = Option<Id<AgentId>>,
        erased_at: Nullable<Timestamptz> = Option<At>,
        first_seen_at: Timestamptz = At,
        last_seen_at: Timestamptz = At,
        seq: BigInt = i64,
    } insert "visitors", "ON CONFLICT (tenant_id, id) DO UPDATE SET
        name = excluded.name, email = excluded.email, custom = excluded.custom, external_id = excluded.external_id,
        verified = excluded.verified, widget_id = excluded.widget_id, page_url = excluded.page_url,
        page_title = excluded.page_title, banned = excluded.banned, banned_until = excluded.banned_until,
        banned_by = excluded.banned_by, erased_at = excluded.erased_at, last_seen_at = excluded.last_seen_at,
        seq = excluded.seq
        WHERE visitors.seq < excluded.seq"
}

row! {
    AgentStateRow by UpsertAgentStates {
        tenant_id: UuidSql = Id<TenantId>,
        agent_id: UuidSql = Id<AgentId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        status: Text = &'static str,
        chosen_status: Text = &'static str,
        capacity: Integer = i32,
        load: Integer = i32,
        last_assigned_at: Nullable<Timestamptz> = Option<At>,
        deleted: Bool = bool,
    } insert "agent_states", "ON CONFLICT (tenant_id, agent_id) DO UPDATE SET
        seq = excluded.seq, at = excluded.at, status = excluded.status, chosen_status = excluded.chosen_status,
        capacity = excluded.capacity, load = excluded.load, last_assigned_at = excluded.last_assigned_at,
        deleted = excluded.deleted
        WHERE agent_states.seq < excluded.seq"
}
