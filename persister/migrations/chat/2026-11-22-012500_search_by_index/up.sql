-- The words of a text, kept beside it: taking them out of it again costs thirty times as much as looking at them.
-- Rewrites the table.
ALTER TABLE messages ADD COLUMN words tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED;
DROP INDEX messages_by_words;
CREATE INDEX messages_by_words ON messages USING gin (words) WHERE words IS NOT NULL;

-- All messages of the transaction's own tenant that `query` finds below a sequence, or the latest `most` of them.
--
-- Behind row-level security no index may be used with a text search, which could tell what it was compared with, so
-- this looks as the persister does, and names the tenant itself. For the same reason Postgres uses no statistics of
-- words here: that it has to gather rows before it puts them in order is set, not left to its guess. Compiling a
-- query whose cost is guessed that wrongly takes longer than running it.
CREATE FUNCTION found_by_index(query tsquery, below bigint, most integer)
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
    SET enable_indexscan = off SET enable_seqscan = off AS $$
BEGIN
    -- Planned for each tenant anew: what one of them has is all of the table, or little of it.
    RETURN QUERY EXECUTE '
        WITH hits AS MATERIALIZED (SELECT m.conversation_id, m.seq FROM messages m
            WHERE m.tenant_id = $1 AND m.words @@ $2 AND m.seq < $3)
        SELECT h.conversation_id, h.seq FROM hits h ORDER BY h.seq DESC LIMIT $4'
    USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, below, most;
END
$$;

-- Whether `query` finds so many of the tenant's latest messages that reading on brings enough of them soon.
CREATE FUNCTION is_common(query tsquery) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    latest CONSTANT integer := 2000;
    enough CONSTANT integer := 5;
    hits integer;
BEGIN
    EXECUTE '
        SELECT count(*) FROM (SELECT m.words FROM messages m WHERE m.tenant_id = $1 ORDER BY m.seq DESC LIMIT $3) m
        WHERE m.words @@ $2'
    INTO hits USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, latest;
    RETURN hits >= enough;
END
$$;

-- The latest messages of the transaction's own tenant that `query` finds below a sequence, in all conversations, or,
-- where `me` is given, in those that this agent has, takes part in, or sees through one of `my_groups`.
--
-- Common words are found by reading the latest messages, which ends as soon as it is seen not to be worth while. The
-- index then finds the rest where the words are rarer than conversations that `me` sees; where those are rarer, they
-- are looked through one by one.
CREATE OR REPLACE FUNCTION found(query tsquery, below bigint, most integer, me uuid, my_groups uuid[])
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    -- So many messages are read before it is asked whether that many would fill the page.
    first_read CONSTANT integer := 2000;
    most_read CONSTANT integer := 60000;
    own CONSTANT uuid := nullif(current_setting('chatbus.tenant', true), '')::uuid;
    mine CONSTANT text := '(c.assignee_id = $4 OR $4 = ANY (c.participants) OR c.group_id = ANY ($5))';
    -- Asked for each message by itself: OFFSET keeps Postgres from gathering all conversations for it.
    seen CONSTANT text := '($4 IS NULL OR EXISTS (SELECT FROM conversations c
        WHERE c.tenant_id = $1 AND c.id = m.conversation_id AND ' || mine || ' OFFSET 0))';
    m record;
    reached bigint;
    n_read integer := 0;
    n_hits integer := 0;
    n_seen integer := 0;
BEGIN
    FOR m IN EXECUTE '
        SELECT m.conversation_id, m.seq, m.hit, CASE WHEN m.hit THEN ' || seen || ' END AS seen
        FROM (SELECT m.conversation_id, m.seq, m.words @@ $2 AS hit FROM messages m
            WHERE m.tenant_id = $1 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $6) m'
    USING own, query, below, me, my_groups, most_read
    LOOP
        n_read := n_read + 1;
        IF m.hit THEN
            n_hits := n_hits + 1;
            IF m.seen THEN
                conversation_id := m.conversation_id;
                seq := m.seq;
                RETURN NEXT;
                n_seen := n_seen + 1;
                IF n_seen >= most THEN
                    RETURN;
                END IF;
            END IF;
        END IF;
        IF n_read = most_read OR n_read >= first_read AND n_seen::bigint * most_read < most::bigint * n_read THEN
            reached := m.seq;
            EXIT;
        END IF;
    END LOOP;
    IF reached IS NULL THEN
        RETURN;
    END IF;
    IF me IS NULL THEN
        RETURN QUERY SELECT f.conversation_id, f.seq FROM found_by_index(query, reached, most - n_seen) f;
    ELSIF n_hits::float / n_read <= (n_seen + 1)::float / (n_hits + 1) THEN
        RETURN QUERY EXECUTE 'SELECT m.conversation_id, m.seq FROM found_by_index($2, $3, NULL) m WHERE ' || seen
            || ' LIMIT $6'
        USING own, query, reached, me, my_groups, most - n_seen;
    ELSE
        RETURN QUERY EXECUTE '
            WITH c AS MATERIALIZED (SELECT c.id FROM conversations c WHERE c.tenant_id = $1 AND ' || mine || ')
            SELECT c.id, m.seq FROM c CROSS JOIN LATERAL (SELECT m.seq FROM messages m
                WHERE m.tenant_id = $1 AND m.conversation_id = c.id AND m.seq < $3 AND m.words @@ $2
                ORDER BY m.seq DESC LIMIT $6) m
            ORDER BY m.seq DESC LIMIT $6'
        USING own, query, reached, me, my_groups, most - n_seen;
    END IF;
END
$$;
DO $$
BEGIN
    -- Whoever owns a function of others' rights gets no more than those.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO chatbus_persister', current_schema());
    ALTER FUNCTION found_by_index OWNER TO chatbus_persister;
    ALTER FUNCTION is_common OWNER TO chatbus_persister;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM chatbus_persister', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION found_by_index, is_common FROM PUBLIC;
GRANT EXECUTE ON FUNCTION found_by_index, is_common TO chatbus_tenant;
