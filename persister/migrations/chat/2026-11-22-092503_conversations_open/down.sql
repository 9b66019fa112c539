DROP INDEX CONCURRENTLY conversations_open;
