DROP TABLE audit_log, idempotency_keys, outbox, refresh_tokens, sessions, tags, widgets, group_members, groups, agents,
    tenants, accounts;
