-- In which blocks messages of which age may be: what an index of words finds is cut down to the latest before the
-- blocks are read. Several ranges for each hundred of blocks: forgotten messages make room for new ones between old.
CREATE INDEX CONCURRENTLY messages_by_age ON messages USING brin (seq int8_minmax_multi_ops)
    WITH (pages_per_range = 128, autosummarize = on);
