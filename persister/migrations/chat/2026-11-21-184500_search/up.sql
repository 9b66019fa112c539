-- What was said, by words. Neither stems nor leaves words out: visitors write in any language.
CREATE INDEX messages_by_words ON messages USING gin (to_tsvector('simple', text)) WHERE text IS NOT NULL;
-- Common words are found by reading the latest messages instead.
CREATE INDEX messages_in_order ON messages (tenant_id, seq);

-- The latest messages of the transaction's own tenant that `query` finds below a sequence, in all conversations, or,
-- where `me` is given, in those that this agent has, takes part in, or sees through one of `my_groups`.
--
-- Behind row-level security no index may be used with a text search, which could tell what it was compared with, so
-- this looks as the persister does, and names the tenant itself.
CREATE FUNCTION found(query tsquery, below bigint, most integer, me uuid, my_groups uuid[])
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- Planned for each query anew: how common its words are decides how to look.
    RETURN QUERY EXECUTE '
        SELECT m.conversation_id, m.seq FROM messages m
        WHERE m.tenant_id = nullif(current_setting(''chatbus.tenant'', true), '''')::uuid
            AND m.text IS NOT NULL AND to_tsvector(''simple'', m.text) @@ $1 AND m.seq < $2
            AND ($4 IS NULL OR EXISTS (SELECT FROM conversations c
                WHERE c.tenant_id = m.tenant_id AND c.id = m.conversation_id
                    AND (c.assignee_id = $4 OR $4 = ANY (c.participants) OR c.group_id = ANY ($5))))
        ORDER BY m.seq DESC LIMIT $3'
    USING query, below, most, me, my_groups;
END
$$;
DO $$
BEGIN
    -- Whoever owns a function of others' rights gets no more than those.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO chatbus_persister', current_schema());
    ALTER FUNCTION found OWNER TO chatbus_persister;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM chatbus_persister', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION found FROM PUBLIC;
GRANT EXECUTE ON FUNCTION found TO chatbus_tenant;
