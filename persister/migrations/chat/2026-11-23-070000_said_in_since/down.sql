DROP FUNCTION said_in(tsquery, uuid[], bigint);
