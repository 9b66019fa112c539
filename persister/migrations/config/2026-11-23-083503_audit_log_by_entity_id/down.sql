DROP INDEX CONCURRENTLY IF EXISTS audit_log_by_entity_id;
