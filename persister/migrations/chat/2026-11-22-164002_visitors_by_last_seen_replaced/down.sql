CREATE INDEX CONCURRENTLY visitors_by_last_seen ON visitors (tenant_id, last_seen_at, id);
