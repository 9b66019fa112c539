-- What was done to a conversation's threads, in order: a few among all that was said.
CREATE INDEX CONCURRENTLY events_of_routing ON events (tenant_id, conversation_id, seq) WHERE lane IN ('life', 'desk');
