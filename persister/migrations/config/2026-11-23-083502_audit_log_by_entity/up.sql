-- What was changed of one kind, in the order of lists.
CREATE INDEX CONCURRENTLY audit_log_by_entity ON audit_log (tenant_id, entity, at, id);
