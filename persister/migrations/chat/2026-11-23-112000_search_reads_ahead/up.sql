-- What a word is in lies all over the table. Of what is not in memory many blocks are asked for at once, not one after
-- the other: words that nobody asked for lately take a half to a third of the time.
DO $$
BEGIN
    ALTER FUNCTION found(tsquery, float, bigint, integer, uuid, uuid[]) SET effective_io_concurrency = 100;
    ALTER FUNCTION found_by_index(tsquery, bigint, integer) SET effective_io_concurrency = 100;
    ALTER FUNCTION said_in(tsquery, uuid[], bigint) SET effective_io_concurrency = 100;
EXCEPTION WHEN invalid_parameter_value THEN
    -- On macOS Postgres cannot.
    RAISE NOTICE 'search does not read ahead here: %', SQLERRM;
END
$$;
