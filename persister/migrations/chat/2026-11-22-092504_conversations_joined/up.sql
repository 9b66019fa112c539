-- The few conversations in which others take part than whoever has them.
CREATE INDEX CONCURRENTLY conversations_joined ON conversations (tenant_id)
    WHERE participants <> '{}' AND participants <> ARRAY[assignee_id];
