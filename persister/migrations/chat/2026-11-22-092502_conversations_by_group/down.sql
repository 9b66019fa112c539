DROP INDEX CONCURRENTLY IF EXISTS conversations_by_group;
