-- Open conversations by status, in the order of lists. Nearly all others are closed: those need none.
CREATE INDEX CONCURRENTLY conversations_open ON conversations (tenant_id, status, last_at, id) WHERE status <> 'closed';
