CREATE INDEX decisions_by_thread ON decisions (tenant_id, thread_id, seq);
DROP INDEX decisions_by_conversation;
