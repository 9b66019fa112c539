-- What asked this one leaves out who was forgotten.
DROP INDEX CONCURRENTLY IF EXISTS visitors_by_last_seen;
