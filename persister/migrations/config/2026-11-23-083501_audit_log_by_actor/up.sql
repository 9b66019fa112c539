-- What somebody changed, in the order of lists.
CREATE INDEX CONCURRENTLY audit_log_by_actor ON audit_log (tenant_id, actor_id, at, id);
