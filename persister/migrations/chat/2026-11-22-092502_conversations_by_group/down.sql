DROP INDEX CONCURRENTLY conversations_by_group;
