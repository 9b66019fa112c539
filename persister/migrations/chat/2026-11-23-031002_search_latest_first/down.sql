DROP FUNCTION share_of, said_in, found(tsquery, float, bigint, integer, uuid, uuid[]), found_latest, found_between;
