-- For each filter of the list, in its order.
CREATE INDEX audit_log_by_actor ON audit_log (tenant_id, actor_id, at, id);
CREATE INDEX audit_log_by_entity ON audit_log (tenant_id, entity, at, id);
CREATE INDEX audit_log_by_entity_id ON audit_log (tenant_id, entity_id, at, id);
