DROP FUNCTION share_of, share_lately, said_in, found(tsquery, float, bigint, integer, uuid, uuid[]), found_latest, found_between;
ALTER FUNCTION found_by_index SET search_path FROM CURRENT;
ALTER FUNCTION is_common SET search_path FROM CURRENT;
ALTER FUNCTION found SET search_path FROM CURRENT;
