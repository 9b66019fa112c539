//! What staff look at: ratings, tags, decisions, counters; and the removal of a visitor from all of it.

use super::prelude::*;

row! {
    /// One for each thread: the first counts.
    RatingRow by InsertRatings {
        tenant_id: UuidSql = Id<TenantId>,
        thread_id: UuidSql = Id<ThreadId>,
        conversation_id: UuidSql = Id<ConversationId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        score: SmallInt = i16,
        comment: Nullable<Text> = Option<String>,
    } insert "ratings", "ON CONFLICT (tenant_id, thread_id) DO NOTHING"
}

row! {
    TagRow by UpsertTags {
        tenant_id: UuidSql = Id<TenantId>,
        thread_id: UuidSql = Id<ThreadId>,
        tag_id: UuidSql = Id<TagId>,
        conversation_id: UuidSql = Id<ConversationId>,
        present: Bool = bool,
        seq: BigInt = i64,
        at: Timestamptz = At,
        author_type: Text = &'static str,
        author_id: UuidSql = Uuid,
    } insert "tags", "ON CONFLICT (tenant_id, thread_id, tag_id) DO UPDATE SET
        present = excluded.present, seq = excluded.seq, at = excluded.at,
        author_type = excluded.author_type, author_id = excluded.author_id
        WHERE tags.seq < excluded.seq"
}

row! {
    DecisionRow by InsertDecisions {
        tenant_id: UuidSql = Id<TenantId>,
        seq: BigInt = i64,
        at: Timestamptz = At,
        conversation_id: UuidSql = Id<ConversationId>,
        thread_id: UuidSql = Id<ThreadId>,
        strategy: Nullable<Text> = Option<&'static str>,
        rule: Text = String,
        chosen_id: Nullable<UuidSql> = Option<Id<AgentId>>,
        config_revision: BigInt = i64,
        waiting_since: Nullable<Timestamptz> = Option<At>,
        took_us: BigInt = i64,
        decision: Text = String as "jsonb",
    } insert "decisions", "ON CONFLICT DO NOTHING"
}

row! {
    CounterRow by AddCounters {
        tenant_id: UuidSql = Id<TenantId>,
        day: Date = chrono::NaiveDate,
        metric: Text = &'static str,
        n: BigInt = i64,
    } insert "daily_counters", "ON CONFLICT (tenant_id, day, metric) DO UPDATE SET
        n = daily_counters.n + excluded.n"
}

row! {
    /// Deletes what a visitor said and was told, up to here. Life and routing hold no personal data and stay.
    ErasureRow by Erase {
        tenant_id: UuidSql = Id<TenantId>,
        visitor_id: UuidSql = Id<VisitorId>,
        conversation_id: UuidSql = Id<ConversationId>,
        seq: BigInt = i64,
    } update
        "WITH r AS MATERIALIZED (SELECT * FROM",
        "), said AS (
            DELETE FROM events e USING r WHERE e.tenant_id = r.tenant_id AND e.conversation_id = r.conversation_id
               AND e.lane IN ('msg', 'note', 'mark') AND e.seq < r.seq
         ), known AS (
            DELETE FROM events e USING r WHERE e.tenant_id = r.tenant_id AND e.conversation_id IS NULL
               AND e.subject_id = r.visitor_id AND e.lane = 'visitor' AND e.seq < r.seq
         ), read AS (
            DELETE FROM marks m USING r WHERE m.tenant_id = r.tenant_id AND m.conversation_id = r.conversation_id
         ), rated AS (
            DELETE FROM ratings g USING r WHERE g.tenant_id = r.tenant_id AND g.conversation_id = r.conversation_id
         ), tagged AS (
            DELETE FROM tags g USING r WHERE g.tenant_id = r.tenant_id AND g.conversation_id = r.conversation_id
         )
         DELETE FROM messages m USING r WHERE m.tenant_id = r.tenant_id AND m.conversation_id = r.conversation_id"
}
