-- In which conversations of the transaction's own tenant `query` finds something: of these ones whenever it was said,
-- and of all since a sequence.
--
-- The index of ages has the second, so that of the conversations that a list begins with only those have to be named
-- that began before.
SELECT set_config('search_path', format('%I, pg_temp', current_schema()), true);
CREATE FUNCTION said_in(query tsquery, ids uuid[], since bigint) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
    SET enable_indexscan = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE '
        SELECT DISTINCT m.conversation_id FROM messages m
        WHERE m.tenant_id = $1 AND m.words @@ $2 AND (m.conversation_id = ANY ($3) OR m.seq >= $4)'
    USING nullif(current_setting('chatbus.tenant', true), '')::uuid, query, ids, since;
END
$$;

-- The former one stays for an admin-api of before, until the next release.
DO $$
BEGIN
    -- Whoever owns a function of others' rights gets no more than those.
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO chatbus_persister', current_schema());
    ALTER FUNCTION said_in(tsquery, uuid[], bigint) OWNER TO chatbus_persister;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM chatbus_persister', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION said_in(tsquery, uuid[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION said_in(tsquery, uuid[], bigint) TO chatbus_tenant;
