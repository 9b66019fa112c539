-- For the removal of what was exchanged long ago.
CREATE INDEX CONCURRENTLY refresh_tokens_by_use ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;
