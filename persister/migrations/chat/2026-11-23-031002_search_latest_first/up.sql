-- What runs with others' rights finds nobody's temporary tables under the names of its own.
SELECT set_config('search_path', format('%I, pg_temp', current_schema()), true);
ALTER FUNCTION found_by_index SET search_path FROM CURRENT;
ALTER FUNCTION is_common SET search_path FROM CURRENT;
ALTER FUNCTION found SET search_path FROM CURRENT;

-- The tenant's messages that `query` finds from one sequence on and below another, latest first.
--
-- As found_by_index, which has the reasons; the index of ages keeps older ones' blocks unread.
CREATE FUNCTION found_between(query tsquery, lowest bigint, below bigint)
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
    SET enable_indexscan = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE '
        WITH hits AS MATERIALIZED (SELECT m.conversation_id, m.seq FROM messages m
            WHERE m.tenant_id = $1 AND m.words @@ $2 AND m.seq >= $3 AND m.seq < $4)
        SELECT h.conversation_id, h.seq FROM hits h ORDER BY h.seq DESC'
    USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, lowest, below;
END
$$;

-- The latest `most` messages that `query` finds below a sequence and `me` sees, as `found` has it.
--
-- The latest `step` sequences are looked through first, and then as many as will do, to judge by what was found.
CREATE FUNCTION found_latest(query tsquery, below bigint, most integer, step bigint, me uuid, my_groups uuid[])
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    -- Of this part of everything, and of more, the ages of blocks are not worth being looked at.
    large CONSTANT float := 1 / 8.0;
    margin CONSTANT float := 1.5;
    own CONSTANT uuid := nullif(current_setting('chatbus.tenant', true), '')::uuid;
    lowest CONSTANT bigint := (SELECT min(m.seq) FROM messages m WHERE m.tenant_id = own);
    bottom bigint := below;
    missing integer := most;
    n_found integer;
BEGIN
    WHILE missing > 0 AND bottom > lowest LOOP
        below := bottom;
        bottom := CASE WHEN step < (below - lowest) * large THEN below - step ELSE lowest END;
        -- Asked for each message by itself: OFFSET keeps Postgres from gathering all conversations for it.
        RETURN QUERY SELECT m.conversation_id, m.seq FROM found_between(query, bottom, below) m
            WHERE me IS NULL OR EXISTS (SELECT FROM conversations c
                WHERE c.tenant_id = own AND c.id = m.conversation_id
                    AND (c.assignee_id = me OR me = ANY (c.participants) OR c.group_id = ANY (my_groups)) OFFSET 0)
            LIMIT missing;
        GET DIAGNOSTICS n_found = ROW_COUNT;
        missing := missing - n_found;
        step := CASE n_found WHEN 0 THEN below ELSE greatest(1, least(margin * step * missing / n_found, below)) END;
    END LOOP;
END
$$;

-- The latest messages of the transaction's own tenant that `query` finds below a sequence, in all conversations, or,
-- where `me` is given, in those that this agent has, takes part in, or sees through one of `my_groups`. `share` is what
-- `share_of` says of `query`.
--
-- Common words are found by reading the latest messages. What they show says what is cheapest for the rest: reading
-- on, asking the index of words, or looking through the conversations that `me` sees, one by one. Which of them it is
-- changes nothing of what is found.
CREATE FUNCTION found(query tsquery, share float, below bigint, most integer, me uuid, my_groups uuid[])
    RETURNS TABLE (conversation_id uuid, seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    -- So many messages are read before it is asked whether to read on, and then at twice as many each time.
    first_read CONSTANT integer := 2000;
    most_read CONSTANT integer := 60000;
    -- More conversations are not looked through one by one.
    most_talks CONSTANT integer := 2000;
    -- Microseconds, as measured: to read a message; to look at one in the index of words, which is that of all tenants;
    -- to fetch one that was found there; to look through a conversation.
    read_us CONSTANT float := 1;
    listed_us CONSTANT float := 0.5;
    fetched_us CONSTANT float := 4;
    talk_us CONSTANT float := 20;
    -- To fetch everything takes no longer than to look where the latest are.
    soon_us CONSTANT float := 15000;
    -- The first step is that much longer than what likely fills the page.
    margin CONSTANT float := 1.5;
    own CONSTANT uuid := nullif(current_setting('chatbus.tenant', true), '')::uuid;
    lowest CONSTANT bigint := (SELECT min(n.seq) FROM messages n WHERE n.tenant_id = own);
    -- Of all tenants.
    every CONSTANT float := greatest((SELECT c.reltuples FROM pg_class c WHERE c.oid = 'messages'::regclass), 1);
    talks CONSTANT float := greatest((SELECT c.reltuples FROM pg_class c WHERE c.oid = 'conversations'::regclass), 1);
    m record;
    latest bigint;
    reached bigint;
    ask_at integer := first_read;
    n_read integer := 0;
    n_hits integer := 0;
    n_seen integer := 0;
    -- What `me` sees, and whether that is all of it.
    ids uuid[];
    whole boolean := false;
    -- The tenant's messages, as many as there would be if they were always as dense as where it was read.
    n_all float;
    -- The share of them that is found, and the share of that which `me` sees.
    rate float;
    seen_rate float;
    -- Hits in the tenant and in all.
    n_own float;
    n_listed float;
    -- The tenant's messages that fill the page.
    n_needed float;
    index_cost float;
    talks_cost float;
BEGIN
    FOR m IN EXECUTE '
        SELECT m.conversation_id, m.seq, m.hit, CASE WHEN m.hit THEN ($4 IS NULL OR EXISTS (SELECT FROM conversations c
            WHERE c.tenant_id = $1 AND c.id = m.conversation_id
                AND (c.assignee_id = $4 OR $4 = ANY (c.participants) OR c.group_id = ANY ($5)) OFFSET 0)) END AS seen
        FROM (SELECT m.conversation_id, m.seq, m.words @@ $2 AS hit FROM messages m
            WHERE m.tenant_id = $1 AND m.seq < $3 ORDER BY m.seq DESC LIMIT $6) m'
    USING own, query, below, me, my_groups, most_read
    LOOP
        latest := coalesce(latest, m.seq);
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
        IF n_read = ask_at OR n_read = most_read THEN
            n_all := n_read::float * (latest - lowest + 1) / (latest - m.seq + 1);
            IF n_read = first_read AND me IS NOT NULL THEN
                -- As the indexes of lists have them.
                SELECT coalesce(array_agg(DISTINCT c.id), '{}'), count(*) <= most_talks INTO ids, whole FROM (
                    SELECT c.id FROM conversations c WHERE c.tenant_id = own AND c.assignee_id = me
                    UNION ALL SELECT c.id FROM conversations c WHERE c.tenant_id = own AND c.participants <> '{}'
                        AND c.participants <> ARRAY[c.assignee_id] AND c.participants @> ARRAY[me]
                    UNION ALL SELECT c.id FROM conversations c WHERE c.tenant_id = own AND c.group_id = ANY (my_groups)
                    LIMIT most_talks + 1) c;
            END IF;
            -- What was read counts as much as what is guessed of as many.
            rate := greatest((n_hits + share * first_read) / (n_read + first_read), 1 / every);
            -- What little is seen of few hits says less than how much there is to be seen.
            seen_rate := CASE WHEN me IS NULL THEN 1
                WHEN whole THEN (n_seen + 10 * least(1, greatest(cardinality(ids), 1) * every / (n_all * talks)))
                    / (n_hits + 10)
                ELSE (n_seen + 1)::float / (n_hits + 1) END;
            n_own := greatest(rate * n_all, 1);
            n_listed := greatest(share * every, n_own);
            n_needed := (most - n_seen) / (rate * seen_rate);
            index_cost := n_listed * listed_us
                + least(n_listed, (most - n_seen) / seen_rate * n_listed / n_own) * fetched_us;
            talks_cost := CASE WHEN whole THEN cardinality(ids) * talk_us ELSE 'infinity' END;
            IF n_read = most_read OR least(n_needed, n_all - n_read) * read_us > least(index_cost, talks_cost) THEN
                reached := m.seq;
                EXIT;
            END IF;
            ask_at := ask_at * 2;
        END IF;
    END LOOP;
    IF reached IS NULL THEN
        RETURN;
    ELSIF talks_cost < index_cost THEN
        RETURN QUERY SELECT c.id, s.seq FROM unnest(ids) c (id) CROSS JOIN LATERAL (SELECT s.seq FROM messages s
                WHERE s.tenant_id = own AND s.conversation_id = c.id AND s.seq < reached AND s.words @@ query
                ORDER BY s.seq DESC LIMIT most - n_seen) s
            ORDER BY s.seq DESC LIMIT most - n_seen;
    ELSE
        RETURN QUERY SELECT f.conversation_id, f.seq FROM found_latest(query, reached, most - n_seen,
            CASE WHEN n_listed * fetched_us < soon_us THEN reached
                ELSE greatest(1, least(margin * n_needed * (latest - reached + 1) / n_read, reached))::bigint END,
            me, my_groups) f;
    END IF;
END
$$;

-- Which share of all tenants' messages `query` likely finds, as Postgres guesses before it looks: of words that are said
-- together it guesses far too little.
CREATE FUNCTION share_of(query tsquery) RETURNS double precision
    -- Not stable: Postgres explains nothing in functions that are.
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    every CONSTANT float := (SELECT c.reltuples FROM pg_class c WHERE c.oid = 'messages'::regclass);
    plan json;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM messages m WHERE m.words @@ %L', query) INTO plan;
    RETURN (plan #>> '{0,Plan,Plan Rows}')::float / greatest(every, 1);
END
$$;

-- Which share of the tenant's latest messages `query` finds.
CREATE FUNCTION share_lately(query tsquery) RETURNS double precision
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
    latest CONSTANT integer := 2000;
    share double precision;
BEGIN
    EXECUTE '
        SELECT avg((m.words @@ $2)::integer) FROM
            (SELECT m.words FROM messages m WHERE m.tenant_id = $1 ORDER BY m.seq DESC LIMIT $3) m'
    INTO share USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, latest;
    RETURN coalesce(share, 0);
END
$$;

-- In which of these conversations of the transaction's own tenant `query` finds something.
CREATE FUNCTION said_in(query tsquery, ids uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
    SET enable_indexscan = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE '
        SELECT DISTINCT m.conversation_id FROM messages m
        WHERE m.tenant_id = $1 AND m.words @@ $2 AND m.conversation_id = ANY ($3)'
    USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, ids;
END
$$;

-- The former `found` and is_common stay for an admin-api of before, until the next release.
DO $$
BEGIN
    -- Whoever owns a function of others' rights gets no more than those.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO chatbus_persister', current_schema());
    ALTER FUNCTION found_between OWNER TO chatbus_persister;
    ALTER FUNCTION found(tsquery, float, bigint, integer, uuid, uuid[]) OWNER TO chatbus_persister;
    ALTER FUNCTION found_latest OWNER TO chatbus_persister;
    ALTER FUNCTION share_of OWNER TO chatbus_persister;
    ALTER FUNCTION share_lately OWNER TO chatbus_persister;
    ALTER FUNCTION said_in OWNER TO chatbus_persister;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM chatbus_persister', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION found_between, found_latest, found(tsquery, float, bigint, integer, uuid, uuid[]),
    share_of, share_lately, said_in FROM PUBLIC;
GRANT EXECUTE ON FUNCTION found(tsquery, float, bigint, integer, uuid, uuid[]), share_of, share_lately, said_in
    TO chatbus_tenant;
