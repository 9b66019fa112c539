-- What `lower` makes of letters beyond ASCII depends on the locale of the database: under some, two addresses that are
-- two mailboxes would be one account. Addresses are told apart by ASCII alone, here as in what counts tries.
-- The index of before serves the version of before; the next release drops it.
CREATE UNIQUE INDEX CONCURRENTLY accounts_by_email_in_ascii ON accounts (lower(email COLLATE "C"))
    WHERE deleted_at IS NULL;
