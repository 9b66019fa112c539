-- Visitors who were not forgotten, in the order of lists, and of forgetting.
CREATE INDEX CONCURRENTLY visitors_known ON visitors (tenant_id, last_seen_at, id) WHERE erased_at IS NULL;
