-- What asked these asks those that are in the order of lists: each message would have to keep both.
DROP INDEX conversations_open_by_assignee;
DROP INDEX conversations_open_by_group;
