DROP INDEX audit_log_by_actor, audit_log_by_entity, audit_log_by_entity_id;
