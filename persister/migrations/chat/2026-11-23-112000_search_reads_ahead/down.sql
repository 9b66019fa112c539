ALTER FUNCTION found(tsquery, float, bigint, integer, uuid, uuid[]) RESET effective_io_concurrency;
ALTER FUNCTION found_by_index(tsquery, bigint, integer) RESET effective_io_concurrency;
ALTER FUNCTION said_in(tsquery, uuid[], bigint) RESET effective_io_concurrency;
