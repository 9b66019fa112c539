CREATE INDEX conversations_open_by_assignee ON conversations (tenant_id, assignee_id) WHERE status <> 'closed';
CREATE INDEX conversations_open_by_group ON conversations (tenant_id, group_id) WHERE status <> 'closed';
