-- Decisions are asked for by conversation, in order; nobody asks by thread alone.
CREATE INDEX decisions_by_conversation ON decisions (tenant_id, conversation_id, seq);
DROP INDEX decisions_by_thread;
