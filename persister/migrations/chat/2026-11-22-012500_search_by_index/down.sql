DROP FUNCTION is_common;
DROP FUNCTION found_by_index;
DROP INDEX messages_by_words;
CREATE INDEX messages_by_words ON messages USING gin (to_tsvector('simple', text)) WHERE text IS NOT NULL;
ALTER TABLE messages DROP COLUMN words;
CREATE OR REPLACE FUNCTION found(query tsquery, below bigint, most integer, me uuid, my_groups uuid[])
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
