DROP FUNCTION found;
DROP INDEX messages_in_order;
DROP INDEX messages_by_words;
