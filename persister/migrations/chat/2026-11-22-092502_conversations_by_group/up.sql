-- Conversations of a group, in the order of lists.
CREATE INDEX CONCURRENTLY conversations_by_group ON conversations (tenant_id, group_id, last_at, id)
    WHERE group_id IS NOT NULL;
