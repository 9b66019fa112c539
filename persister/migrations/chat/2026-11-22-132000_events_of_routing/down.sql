DROP INDEX CONCURRENTLY events_of_routing;
