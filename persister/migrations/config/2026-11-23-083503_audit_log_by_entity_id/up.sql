-- What was changed of one thing, in the order of lists.
CREATE INDEX CONCURRENTLY audit_log_by_entity_id ON audit_log (tenant_id, entity_id, at, id);
