DROP INDEX CONCURRENTLY conversations_joined;
