-- Conversations that an agent has, in the order of lists. Whoever closes one has it no more.
CREATE INDEX CONCURRENTLY conversations_by_assignee ON conversations (tenant_id, assignee_id, last_at, id)
    WHERE assignee_id IS NOT NULL;
