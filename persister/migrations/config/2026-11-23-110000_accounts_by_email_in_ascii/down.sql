DROP INDEX CONCURRENTLY IF EXISTS accounts_by_email_in_ascii;
